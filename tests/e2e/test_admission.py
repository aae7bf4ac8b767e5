"""When commands are not carried out: those that may not wait are refused at once, the rest in time."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import grpc
import pytest

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from tests.crash.processes import Kind, pids
from tests.support.service import RunningService, running_service
from tests.support.waiting import eventually
from tests.support.web import Answer, balance_of, code_of, opened, post

MOST_WAITING = 2
CALLS = 6


@pytest.fixture(scope="module")
def narrow() -> Iterator[RunningService]:
    """A service in which two commands may wait in each front end."""
    with running_service(MAX_WAITING_COMMANDS=str(MOST_WAITING), PARTITIONS="4") as service:
        yield service


@contextmanager
def frozen_worker(service: RunningService) -> Iterator[None]:
    (worker,) = pids(service, Kind.WORKER)
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def comes_through(deposit: Callable[[int], Answer], number: int) -> bool:
    return deposit(number).status == 200


def test_http_refuses_what_may_not_wait_and_gives_up_in_time(narrow: RunningService) -> None:
    """429 at once with the time to come back, 504 for what waited; the same keys then get the one outcome."""
    account_id = opened(narrow)

    def deposit(number: int) -> Answer:
        body = {"amount": 1, "source": "s"}
        return post(narrow, f"/api/accounts/{account_id}/deposit", body, key=f"k{number}")

    with ThreadPoolExecutor(CALLS) as callers:
        with frozen_worker(narrow):
            answers = list(callers.map(deposit, range(CALLS)))
        told = sorted((answer.status, code_of(answer)) for answer in answers)
        assert told == [(429, "RATE_LIMITED")] * (CALLS - MOST_WAITING) + [(504, "TIMEOUT")] * MOST_WAITING
        refused = [answer for answer in answers if answer.status == 429]
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        for number in range(CALLS):
            eventually(partial(comes_through, deposit, number), within_seconds=60)
    assert balance_of(narrow, account_id) == CALLS


def test_grpc_refuses_what_may_not_wait_and_gives_up_in_time(narrow: RunningService) -> None:
    """The same in gRPC's terms, for callers without a deadline of their own."""
    account_id = opened(narrow)
    with grpc.insecure_channel(narrow.grpc) as channel:
        stub = BalanceServiceStub(channel)
        stub.GetBalance(pb.GetBalanceRequest(account_id=account_id))
        with frozen_worker(narrow):
            calls = [
                stub.Deposit.future(
                    pb.DepositRequest(account_id=account_id, amount=1, idempotency_key=f"g{n}")
                )
                for n in range(CALLS)
            ]
            codes = sorted(call.code().name for call in calls)
    assert codes == ["DEADLINE_EXCEEDED"] * MOST_WAITING + ["RESOURCE_EXHAUSTED"] * (CALLS - MOST_WAITING)
