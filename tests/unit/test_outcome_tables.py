"""Outcomes and faults on the wire: every one has its row, and the rows say what the contract says."""

import pytest
from google.protobuf.message import DecodeError
from grpc import StatusCode

from app.domain.outcomes import Answer, Outcome
from app.domain.validation import Malformed, TooMany
from app.http import errors as http
from app.rpc import errors as rpc
from app.services import faults
from app.services.access import Forbidden, Unauthenticated

REFUSALS = [outcome for outcome in Outcome if outcome is not Outcome.OK]
# What the contract lets callers see (CONTRACT 3, and the codes of HTTP alone).
TOLD_BY_STATUS = {
    Outcome.DEAD_LETTERED,
    Outcome.DROPPED,
    Outcome.SEAT_TAKEN,
    Outcome.HOLD_LIMIT,
    Outcome.POT_LIMIT,
}


def test_every_outcome_has_a_row() -> None:
    """Whoever adds an outcome says how each front end tells it."""
    assert set(rpc.STATUS_OF_OUTCOME) == set(Outcome)
    assert set(http.OUTCOMES) == set(Outcome)


@pytest.mark.parametrize("outcome", REFUSALS)
def test_a_refusal_is_an_answer_in_grpc(outcome: Outcome) -> None:
    """Its code stands in the message, but for the few that the contract tells by a status."""
    answer = Answer(outcome=outcome)
    if outcome in TOLD_BY_STATUS:
        with pytest.raises(rpc.CallFailed):
            rpc.error_code(answer)
    else:
        assert rpc.error_code(answer) == outcome.value


def test_what_was_applied_has_no_code() -> None:
    """`error` is "" when ok."""
    assert rpc.error_code(Answer()) == ""


@pytest.mark.parametrize(
    ("outcome", "status", "details"),
    [
        (Outcome.DEAD_LETTERED, StatusCode.INTERNAL, "DEAD_LETTERED 007-i-1-0"),
        (Outcome.HOLD_LIMIT, StatusCode.RESOURCE_EXHAUSTED, "HOLD_LIMIT"),
        (Outcome.POT_LIMIT, StatusCode.RESOURCE_EXHAUSTED, "POT_LIMIT"),
        (Outcome.SEAT_TAKEN, StatusCode.INVALID_ARGUMENT, "SEAT_TAKEN account_id"),
        (Outcome.DROPPED, StatusCode.DEADLINE_EXCEEDED, "DROPPED"),
    ],
)
def test_some_outcomes_are_statuses_in_grpc(outcome: Outcome, status: StatusCode, details: str) -> None:
    """A dead letter is named, so that ops can be asked about it; a wrong field, so that it can be found."""
    detail = {Outcome.DEAD_LETTERED: "007-i-1-0", Outcome.SEAT_TAKEN: "account_id"}.get(outcome, "")
    with pytest.raises(rpc.CallFailed) as failed:
        rpc.error_code(Answer(outcome=outcome, detail=detail))
    assert rpc.status_of(failed.value) == (status, details)


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Outcome.ACCOUNT_NOT_FOUND, 404, "ACCOUNT_NOT_FOUND"),
        (Outcome.RESERVATION_NOT_FOUND, 404, "RESERVATION_NOT_FOUND"),
        (Outcome.INSUFFICIENT_BALANCE, 409, "INSUFFICIENT_BALANCE"),
        (Outcome.ACCOUNT_FROZEN, 409, "ACCOUNT_FROZEN"),
        (Outcome.IDEMPOTENCY_KEY_REUSED, 422, "IDEMPOTENCY_KEY_REUSED"),
        (Outcome.HOLD_LIMIT, 429, "RATE_LIMITED"),
        (Outcome.POT_LIMIT, 429, "RATE_LIMITED"),
        (Outcome.POT_NOT_FOUND, 404, "POT_NOT_FOUND"),
        (Outcome.POT_NOT_ACTIVE, 409, "POT_NOT_ACTIVE"),
        (Outcome.DEAD_LETTERED, 500, "DEAD_LETTERED"),
        (Outcome.DROPPED, 504, "TIMEOUT"),
    ],
)
def test_a_refusal_is_a_status_in_http(outcome: Outcome, status: int, code: str) -> None:
    """The id of a dead letter stands in the message."""
    error = http.refused(Answer(outcome=outcome, detail="007-i-1-0"))
    assert (error.status_code, error.title) == (status, code)
    assert str(error.description).endswith("007-i-1-0")


INVALID = StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("error", "in_grpc", "in_http"),
    [
        (Malformed("hand_id", "is wrong"), INVALID, (400, "INVALID_REQUEST")),
        (Malformed("amount", "is wrong", "INVALID_AMOUNT"), INVALID, (400, "INVALID_AMOUNT")),
        (TooMany("winners", "are too many"), StatusCode.RESOURCE_EXHAUSTED, (400, "INVALID_REQUEST")),
        (Unauthenticated("who?"), StatusCode.UNAUTHENTICATED, (401, "UNAUTHORIZED")),
        (Forbidden("not you"), StatusCode.PERMISSION_DENIED, (403, "FORBIDDEN")),
        (faults.Overloaded(), StatusCode.RESOURCE_EXHAUSTED, (429, "RATE_LIMITED")),
        (faults.Unavailable(), StatusCode.UNAVAILABLE, (503, "UNAVAILABLE")),
        (faults.Paused(), StatusCode.UNAVAILABLE, (503, "UNAVAILABLE")),
        (faults.DeadlinePassed(), StatusCode.DEADLINE_EXCEEDED, (504, "TIMEOUT")),
    ],
)
def test_what_may_go_wrong_has_its_status(
    error: Exception, in_grpc: StatusCode, in_http: tuple[int, str]
) -> None:
    """The same thing, told in the terms of each front end."""
    told = rpc.status_of(error)
    assert told
    assert told[0] is in_grpc
    seen = http.error_of(error)
    assert seen
    assert (seen.status_code, seen.title) == in_http


def test_a_malformed_request_names_the_field_as_its_caller_knows_it() -> None:
    """Snake case in gRPC, camel case in JSON."""
    error = Malformed("idempotency_key", "is missing")
    assert rpc.status_of(error) == (INVALID, "idempotency_key is missing")
    seen = http.error_of(error)
    assert seen
    assert seen.description == "idempotencyKey is missing"


@pytest.mark.parametrize(
    "fault", [faults.Unavailable, faults.Paused, faults.Overloaded, faults.DeadlinePassed]
)
def test_the_text_of_a_fault_stays_inside(fault: type[faults.BalanceFault]) -> None:
    """It may name hosts, keys, or worse."""
    error = fault("10.0.0.1:6379 refused canary")
    assert "canary" not in str(rpc.status_of(error))
    seen = http.error_of(error)
    assert seen
    assert "canary" not in str(seen.description)


@pytest.mark.parametrize("error", [ValueError("x"), faults.StoreRefused("x"), faults.StoreUnavailable("x")])
def test_what_nobody_foresaw_is_a_fault_of_ours(error: Exception) -> None:
    """It has no row: callers get an id, and the log the rest."""
    assert rpc.status_of(error) is None
    assert http.error_of(error) is None


def test_bytes_that_are_no_message_are_the_callers_mistake() -> None:
    """gRPC by itself would call it INTERNAL."""
    told = rpc.status_of(DecodeError("canary"))
    assert told == (INVALID, "the request is not a message of this method")
