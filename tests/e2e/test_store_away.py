"""A store that does not answer: reads show what was known last, and say so; everything heals by itself."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from uuid import uuid4

import grpc
import redis

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.services.times import iso_time
from tests.support.service import RunningService
from tests.support.waiting import eventually
from tests.support.web import Answer, code_of, opened, post


@contextmanager
def frozen_store(service: RunningService) -> Iterator[None]:
    """Stop the store's process as a machine that hangs would, and let it go on at the end."""
    with redis.Redis.from_url(service.redis_url) as client:
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def get(service: RunningService, path: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body."""
    connection = HTTPConnection(service.http, timeout=20)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {service.token}"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), json.loads(answer.read())
    finally:
        connection.close()


def wait_until_ready(service: RunningService) -> None:
    deadline = time.monotonic() + 20
    while get(service, "/api/ready")[0] != 200:
        assert time.monotonic() < deadline, "the service did not heal"
        time.sleep(0.05)


def test_reads_outlive_the_store(service: RunningService) -> None:
    """Both front ends answer from what they answered before, marked stale; what they never saw is away."""
    known, absent, unknown = uuid4().hex, uuid4().hex, uuid4().hex
    with grpc.insecure_channel(service.grpc) as channel, ThreadPoolExecutor() as threads:
        stub = BalanceServiceStub(channel)
        stub.EnsureAccount(pb.EnsureAccountRequest(account_id=known, initial_balance=5), timeout=10)
        # Given: both front ends have shown the account, and one that there is no other.
        fresh = stub.GetBalance(pb.GetBalanceRequest(account_id=known), timeout=10)
        shown, missing = (get(service, f"/api/accounts/{each}/balance") for each in (known, absent))
        assert (shown[0], missing[0]) == (200, 404)
        assert not {"balance-stale", "balance-as-of"} & (shown[1].keys() | missing[1].keys())

        # If: the store hangs.
        last_known = iso_time(time.time_ns() // 1_000_000)
        with frozen_store(service):
            old = stub.GetBalance.future(pb.GetBalanceRequest(account_id=known), timeout=20)
            none = stub.GetBalance.future(pb.GetBalanceRequest(account_id=unknown), timeout=20)
            paths = [f"/api/accounts/{each}/balance" for each in (known, absent, unknown)]
            answers = threads.map(lambda path: get(service, path), [*paths, "/api/ready"])

            # Expect: old values, marked; and no values made up.
            assert (fresh.stale, old.result().stale) == (False, True)
            assert (old.result().balance, old.result().version) == (fresh.balance, fresh.version)
            assert old.result().as_of.endswith("Z")
            assert dict(old.trailing_metadata()) == {"balance-stale": "1"}
            assert none.code() is grpc.StatusCode.UNAVAILABLE
            shown, missing, away, ready = answers
            assert (shown[0], shown[1]["balance-stale"], shown[2]["balance"]) == (200, "true", 5)
            assert (missing[0], missing[1]["balance-stale"]) == (404, "true")
            known_at = [old.result().as_of, *(each[1]["balance-as-of"] for each in (shown, missing))]
            assert known_at == sorted(known_at)
            assert known_at[-1] <= last_known, "when it was known, not when it was told"
            assert (away[0], away[1]["retry-after"]) == (503, "1")
            assert (ready[0], ready[2]["ready"]) == (503, False)

        # Expect: nothing needs a hand once it is back.
        wait_until_ready(service)
        assert not stub.GetBalance(pb.GetBalanceRequest(account_id=known), timeout=10).stale


def test_http_refuses_what_needs_the_store(service: RunningService) -> None:
    """With the time to come back; no past is made up from memory. Afterwards the same key goes through."""
    account_id = opened(service, 5)
    path, body = f"/api/accounts/{account_id}/deposit", {"amount": 1, "source": "s"}

    def refused() -> Answer | None:
        answer = post(service, path, body, key="k")
        return answer if answer.status == 503 else None  # what was sent before it was noticed waits: 504

    with frozen_store(service):
        answer = eventually(refused, within_seconds=60)
        assert (code_of(answer), answer.headers["retry-after"]) == ("UNAVAILABLE", "1")
        for what in ("ledger", "transactions", "reservations"):
            assert get(service, f"/api/accounts/{account_id}/{what}")[0] == 503
    wait_until_ready(service)
    assert post(service, path, body, key="k").status == 200
    assert get(service, f"/api/accounts/{account_id}/balance")[2]["balance"] == 6
