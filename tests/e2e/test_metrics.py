"""The one page of metrics, of real processes: exact under load and across deaths, there without a store."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from typing import Any

import grpc
import grpc.aio
import pytest

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.storage.backends.valkey import ValkeyBackend
from app.telemetry.catalogue import CATALOGUE
from tests.support.scraping import Page
from tests.support.service import RunningService, running_service
from tests.support.waiting import eventually
from tests.tidy.test_watching import NAME
from tests.tidy.test_watching import watched as watched_expressions

CALLERS, ROUNDS = 24, 8
NAMED_FIRST = ("balance_operations_total", "balance_latency_seconds_count", "reservation_expiry_total")


@pytest.fixture(scope="module")
def watched() -> Iterator[RunningService]:
    """A service of these tests' own: they count all that it does, and kill some of it."""
    with running_service(RESERVATION_EXPIRY_INTERVAL_MS="200") as service:
        yield service


def children(service: RunningService) -> dict[int, str]:
    """The processes that `balance up` runs, by number, with their arguments."""
    command = ["ps", "-o", "pid=,args=", "--ppid", str(service.pid)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {int(pid): args for pid, _, args in (line.strip().partition(" ") for line in lines)}


def child(service: RunningService, argument: str) -> int:
    found = children(service)
    return next(pid for pid, args in found.items() if argument in args)


async def caller(stub: Any, name: str) -> Counter[tuple[str, str]]:
    """One caller's commands, some of them repeated, some refused: how many of each it was answered."""
    told: Counter[tuple[str, str]] = Counter()

    async def ask(kind: str, answer: "Awaitable[Any]") -> Any:
        message = await answer
        told[kind, getattr(message, "error", "") or "OK"] += 1
        return message

    for turn in range(ROUNDS):
        deposit = pb.DepositRequest(account_id=name, amount=10, source="t", idempotency_key=f"d{turn // 2}")
        await ask("Deposit", stub.Deposit(deposit, timeout=20))
        reserve = pb.ReserveForBuyInRequest(
            account_id=name, table_id="t", amount=10 + turn, idempotency_key=f"r{turn}"
        )
        held = await ask("Reserve", stub.ReserveForBuyIn(reserve, timeout=20))
        if reservation_id := getattr(held, "reservation_id", ""):
            commit = pb.CommitReservationRequest(reservation_id=reservation_id)
            await asyncio.gather(
                ask("Commit", stub.CommitReservation(commit, timeout=20)),
                ask("Commit", stub.CommitReservation(commit, timeout=20)),
            )
    return told


async def load(service: RunningService, name: str) -> Counter[tuple[str, str]]:
    """All callers at once: what they were answered."""
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        stub: Any = BalanceServiceStub(channel)
        told = await asyncio.gather(*(caller(stub, f"{name}-{number}") for number in range(CALLERS)))
    return sum(told, Counter())


def counting(service: RunningService, commands: int) -> Page | None:
    """The page, once it counts so many commands."""
    page = Page.read(service.metrics)
    return page if page.sum("balance_operations_total") >= commands else None


def test_what_is_named_first_is_there_from_the_start(watched: RunningService) -> None:
    """Given a service nobody has called yet, Expect the three at 0: an increase from nothing is none."""
    page = Page.read(watched.metrics)
    for name in NAMED_FIRST:
        assert name in page.names
        assert page.sum(name) == 0
    assert page.value("balance_operations_total", operation="SettlePot", outcome="OK") == 0
    processes = {kind: page.value("balance_processes", process=kind) for kind in ("worker", "grpc", "http")}
    assert processes == {"worker": 1, "grpc": 1, "http": 1}


def test_under_load_the_page_counts_exactly_what_was_asked(watched: RunningService) -> None:
    """If it is scraped all the while, Expect no count to go back, and each command counted once."""
    before, seen = Counter(Page.read(watched.metrics).operations()), [0.0]
    with ThreadPoolExecutor() as beside:
        working = beside.submit(lambda: asyncio.run(load(watched, "load")))
        while not working.done():
            seen.append(Page.read(watched.metrics).sum("balance_operations_total"))
        told = working.result()
    wanted = before + told
    page = eventually(lambda: counting(watched, wanted.total()))  # a worker counts when it has answered
    assert page.operations() == wanted
    assert seen == sorted(seen)
    assert told["Reserve", "INSUFFICIENT_BALANCE"] > 0
    assert page.sum("balance_replays_total", operation="Deposit") == CALLERS * ROUNDS / 2
    assert page.sum("balance_grpc_request_seconds_count") == told.total()
    assert page.sum("balance_latency_seconds_count") == told.total()
    assert page.sum("balance_commit_commands_sum") == page.sum("balance_operations_total")
    chips = CALLERS * ROUNDS / 2 * 10
    eventually(lambda: Page.read(watched.metrics).value("balance_supply_chips") == chips)
    assert page.value("balance_supply_drift_chips") == 0


def test_what_callers_make_up_makes_no_series(watched: RunningService) -> None:
    """Paths have ids in them and methods are any word: a page that keeps them grows without end."""
    connection = HTTPConnection(watched.http, timeout=20)
    for method, path in (("BREW", "/api/health"), ("GET", "/made/up"), ("GET", "/api/accounts/me/balance")):
        connection.request(method, path)
        connection.getresponse().read()
    connection.close()
    page = Page.read(watched.metrics)
    assert page.sum("balance_http_request_seconds_count", route="GET unknown", status="404") == 1
    account = "GET /api/accounts/{account_id}/balance"
    assert page.sum("balance_http_request_seconds_count", route=account, status="401") == 1
    assert not [word for word in ("BREW", "made/up", "/me/") if word in page.text]


def test_every_metric_that_is_described_is_on_the_page(watched: RunningService) -> None:
    """And nothing else of ours is, so that `ops/metrics.md` tells all."""
    text = Page.read(watched.metrics).text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert told == {described.name for described in CATALOGUE}


def test_dashboard_and_alerts_look_for_what_is_there(watched: RunningService) -> None:
    """Every name in every expression, on the page of a service that has been called."""
    names = {name for expr in watched_expressions() for name in NAME.findall(expr)}
    assert names <= Page.read(watched.metrics).names


def test_a_hold_that_ends_by_itself_is_counted(watched: RunningService) -> None:
    """Given a hold of one second, Expect the counter to tell of its end."""

    async def hold() -> None:
        async with grpc.aio.insecure_channel(watched.grpc) as channel:
            stub: Any = BalanceServiceStub(channel)
            await stub.Deposit(pb.DepositRequest(account_id="h", amount=5, idempotency_key="h"), timeout=20)
            await stub.ReserveForBuyIn(
                pb.ReserveForBuyInRequest(
                    account_id="h", table_id="t", amount=5, idempotency_key="h", timeout_seconds=1
                ),
                timeout=20,
            )

    asyncio.run(hold())
    eventually(lambda: Page.read(watched.metrics).value("reservation_expiry_total") == 1, within_seconds=20)


def test_a_dead_process_takes_no_count_with_it(watched: RunningService) -> None:
    """If a worker is killed, Expect its successor to go on counting where it stopped, in the same place."""
    before = Page.read(watched.metrics)
    os.kill(child(watched, "workers.main"), signal.SIGKILL)
    told = asyncio.run(load(watched, "after"))
    wanted = Counter(before.operations()) + told
    page = eventually(lambda: counting(watched, wanted.total()))
    assert page.operations() == wanted
    assert page.value("balance_processes", process="worker") == 1
    assert page.value("balance_commits_total", result="unknown") == 0


def without_store(service: RunningService) -> Page | None:
    """The page, once it has noticed that the store is away."""
    page = Page.read(service.metrics)
    return None if page.value("balance_store_up") else page


def test_without_a_store_the_page_says_so(watched: RunningService) -> None:
    """Given a store that hangs, Expect an answer in time: the store is away, the counts are there."""
    backend = ValkeyBackend(watched.redis_url)
    store = int(backend.call("INFO", "server").split(b"process_id:")[1].split()[0])
    backend.close()
    before = Page.read(watched.metrics)
    os.kill(store, signal.SIGSTOP)
    try:
        page = eventually(partial(without_store, watched), within_seconds=20)
    finally:
        os.kill(store, signal.SIGCONT)
    assert "balance_supply_chips" not in page.names
    assert page.sum("balance_operations_total") >= before.sum("balance_operations_total")
    eventually(lambda: Page.read(watched.metrics).value("balance_store_up") == 1, within_seconds=20)
