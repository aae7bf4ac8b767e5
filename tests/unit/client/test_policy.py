"""The policy: what each status becomes, what is tried again and when, and what the breaker is told."""

import pickle
from typing import Any

import pytest
from grpc import StatusCode
from tenacity import RetryCallState, Retrying

from app.client import batches, calls
from app.client.breaker import Breaker
from app.client.errors import (
    BalanceError,
    CallFailed,
    CircuitOpen,
    DeadLettered,
    Refused,
    Unanswered,
    error_of,
)
from app.client.policy import CHANNEL_OPTIONS, Desk, Policy
from app.config import Settings
from app.rpc.server import MAX_REQUEST_BYTES, options

TABLE = [
    (StatusCode.UNAVAILABLE, "the store is away", Unanswered),
    (StatusCode.DEADLINE_EXCEEDED, "no answer in time", Unanswered),
    (StatusCode.RESOURCE_EXHAUSTED, "too much is waiting", Unanswered),
    (StatusCode.RESOURCE_EXHAUSTED, "HOLD_LIMIT", Refused),
    (StatusCode.INVALID_ARGUMENT, "SEAT_TAKEN account_id", Refused),
    (StatusCode.CANCELLED, "RST_STREAM with error code 8", Unanswered),
    (StatusCode.FAILED_PRECONDITION, "ACCOUNT_FROZEN", Refused),
    (StatusCode.INTERNAL, "DEAD_LETTERED 007-x", DeadLettered),
    (StatusCode.INTERNAL, "a fault of ours, request 1", CallFailed),
    (StatusCode.INVALID_ARGUMENT, "amount must be", CallFailed),
    (StatusCode.UNAUTHENTICATED, "no token", CallFailed),
    (StatusCode.PERMISSION_DENIED, "the token does not allow this", CallFailed),
    (StatusCode.UNIMPLEMENTED, "Method not found!", CallFailed),
    (StatusCode.UNKNOWN, "", CallFailed),
]


@pytest.mark.parametrize(("status", "details", "expected"), TABLE)
def test_a_status_becomes_one_error(status: StatusCode, details: str, expected: type[BalanceError]) -> None:
    """Only what may pass by itself is Unanswered, and only that is tried again."""
    error = error_of("Deposit", status, details, "key")
    assert type(error) is expected
    retry = Policy().retrying()["retry"]
    assert retry(state(failed_with=error)) is (expected is Unanswered)


def state(attempt: int = 1, failed_with: BaseException | None = None) -> RetryCallState:
    """What tenacity knows after that attempt."""
    found = RetryCallState(Retrying(), None, (), {})
    found.attempt_number = attempt
    if failed_with:
        found.set_exception((type(failed_with), failed_with, None))
    return found


def test_an_error_says_what_a_caller_needs() -> None:
    """The code, the id to tell operators, the key to ask again with."""
    refused = error_of("EnsureAccount", StatusCode.FAILED_PRECONDITION, "ACCOUNT_FROZEN", "")
    parked = error_of("Deposit", StatusCode.INTERNAL, "DEAD_LETTERED 007-x", "key")
    unknown = error_of("Deposit", StatusCode.DEADLINE_EXCEEDED, "no answer in time", "key")
    assert isinstance(refused, Refused)
    assert refused.code == "ACCOUNT_FROZEN"
    assert isinstance(parked, DeadLettered)
    assert parked.dead_letter_id == "007-x"
    assert isinstance(unknown, Unanswered)
    assert (unknown.status, unknown.idempotency_key) == (StatusCode.DEADLINE_EXCEEDED, "key")


@pytest.mark.parametrize(
    "error",
    [
        Refused("Withdraw", "INSUFFICIENT_BALANCE", {"available_balance": 5}),
        Unanswered("Withdraw", StatusCode.UNAVAILABLE, "away", "key"),
        CircuitOpen("Withdraw", 1.5),
        DeadLettered("Withdraw", "007-x"),
        CallFailed("Withdraw", StatusCode.INTERNAL, "a fault"),
    ],
)
def test_an_error_crosses_processes(error: BalanceError) -> None:
    """A job queue of the poker service pickles what its jobs raise."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 0.05), (2, 0.1), (3, 0.2), (5, 0.8), (6, 1.0), (5000, 1.0)]
)
def test_pauses_grow_and_are_random_from_zero(attempt: int, longest: float) -> None:
    """Full jitter: callers who failed together do not come back together."""
    wait = Policy().retrying()["wait"]
    pauses = [wait(state(attempt)) for _ in range(300)]
    assert 0 <= min(pauses) < longest / 4
    assert longest * 3 / 4 < max(pauses) <= longest


def test_no_attempt_begins_after_the_deadline() -> None:
    """A pause that would end behind it is not begun."""
    stop = Policy(total_seconds=10).retrying()["stop"]
    late = state()
    late.outcome_timestamp = late.start_time + 9.5
    late.upcoming_sleep = 0.6
    assert stop(late)
    late.upcoming_sleep = 0.4
    assert not stop(late)


class CountingBreaker(Breaker):
    """A breaker that tells how many failures in a row it knows of."""

    def __init__(self) -> None:
        super().__init__(100, 1)

    @property
    def count(self) -> int:
        return self._failures


@pytest.mark.parametrize(
    ("status", "timeout", "count"),
    [
        (StatusCode.UNAVAILABLE, 2.0, 2),
        (StatusCode.DEADLINE_EXCEEDED, 2.0, 2),
        (StatusCode.DEADLINE_EXCEEDED, 0.1, 1),
        (StatusCode.RESOURCE_EXHAUSTED, 2.0, 0),
        (StatusCode.INVALID_ARGUMENT, 2.0, 0),
        (StatusCode.INTERNAL, 2.0, 0),
    ],
)
def test_only_a_service_that_is_away_opens_the_breaker(
    status: StatusCode, timeout: float, count: int
) -> None:
    """One that refuses or is busy is there; an attempt that its caller cut short says nothing."""
    breaker = CountingBreaker()
    desk = Desk(Policy(attempt_seconds=2.0), breaker, None)
    breaker.failed()
    desk.failed(calls.deposit("a", 1), {"timeout": timeout}, status, "")
    assert breaker.count == count


def test_an_attempt_ends_with_the_call_at_the_latest() -> None:
    """Its own limit holds until less than that is left."""
    desk = Desk(Policy(attempt_seconds=2.0, total_seconds=10.0), CountingBreaker(), None)
    call = calls.deposit("a", 1)
    assert desk.attempt(call, desk.open(call))["timeout"] == 2.0
    hurried = Desk(Policy(attempt_seconds=2.0, total_seconds=1.0), CountingBreaker(), None)
    assert 0 < hurried.attempt(call, hurried.open(call))["timeout"] <= 1.0
    assert hurried.attempt(call, 0.0)["timeout"] == 0.0


def test_a_batch_has_the_whole_time_of_its_call() -> None:
    """Thousands of lines take longer than one command; that they did says nothing about the service."""
    breaker = CountingBreaker()
    desk = Desk(Policy(attempt_seconds=2.0, total_seconds=60.0), breaker, None)
    batch = batches.submit_batch([])
    how = desk.attempt(batch, desk.open(batch))
    assert 59.0 < how["timeout"] <= 60.0
    desk.failed(batch, how, StatusCode.DEADLINE_EXCEEDED, "")
    assert breaker.count == 0


def test_the_service_welcomes_what_the_channel_does() -> None:
    """Pings no more often than it allows, also on an idle connection; requests no larger than it takes."""
    server: dict[str, Any] = dict(options(Settings.from_environment({})))
    shortest = server["grpc.http2.min_ping_interval_without_data_ms"]
    assert CHANNEL_OPTIONS["grpc.keepalive_time_ms"] >= shortest
    idle = "grpc.keepalive_permit_without_calls"
    assert CHANNEL_OPTIONS[idle] == server[idle] == 1
    assert CHANNEL_OPTIONS["grpc.max_send_message_length"] == MAX_REQUEST_BYTES
    assert CHANNEL_OPTIONS["grpc.enable_retries"] == 0
