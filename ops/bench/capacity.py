"""What each command costs, by process, in the store's memory and in its log, and what more of them need.

`make capacity` measures it all and writes the tables of ops/capacity.md.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

from app.client import AsyncBalanceClient
from app.storage.backends.valkey import ValkeyBackend
from ops.bench.counters import LOG_BASE, LOG_BYTES, read_counters
from ops.bench.cpu import FRONT_END, STORE, WORKER, cpu_seconds
from ops.bench.hands import BETS, hands
from ops.bench.load import open_loop
from ops.bench.seeding import Seeder
from ops.bench.servers import Place, service

PAGE = Path(__file__).parents[1] / "capacity.md"
ACCOUNTS = 1_000
IN_FLIGHT = 64
TABLES = 8
QUIET_RATE = 50
SEEDED_ACCOUNTS, SEEDED_ENTRIES = 50_000, 20_000
KINDS = (FRONT_END, WORKER, STORE)
LOADS = (100, 1_000, 10_000)
BUSY_SHARE = 0.7  # of a core: beyond it, waiting times grow fast
DAY_SECONDS = 86_400

_TABLES = re.compile(r"(<!-- measured: make capacity -->\n).*(<!-- end -->)", re.DOTALL)

Step = Callable[[AsyncBalanceClient, str, str], Awaitable[object]]
"""What one account does under a key of its own: one command, or several after each other."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command, on average: CPU ms by process, bytes in the store's memory and in its log."""

    name: str
    cpu: Mapping[str, float]
    memory: float
    log: float


async def _deposit(client: AsyncBalanceClient, account_id: str, key: str) -> None:
    await client.deposit(account_id, 1, idempotency_key=key)


async def _withdraw(client: AsyncBalanceClient, account_id: str, key: str) -> None:
    await client.withdraw(account_id, 1, idempotency_key=key)


async def _buy_in(client: AsyncBalanceClient, account_id: str, key: str) -> None:
    held = await client.reserve(account_id, "table", 1, idempotency_key=key)
    await client.commit(held.reservation_id)


async def _give_back(client: AsyncBalanceClient, account_id: str, key: str) -> None:
    held = await client.reserve(account_id, "table", 1, idempotency_key=key)
    await client.release(held.reservation_id)


STEPS: Mapping[str, tuple[int, Step]] = {
    "deposit": (1, _deposit),
    "withdrawal": (1, _withdraw),
    "buy-in (hold and commit, each)": (2, _buy_in),
    "hold given back (hold and release, each)": (2, _give_back),
}


def write_capacity(seconds: float) -> None:
    """Measure, print the tables, and write them into the page."""
    loads = os.getloadavg()
    with service() as place:
        costs = list(_costs(place, seconds))
        sizes = list(_sizes(place))
    lines = [*_heading(loads), "", *_cost_table(costs), "", *sizes, "", *_growth_table(costs), ""]
    text = "\n".join(lines)
    print(text)
    PAGE.write_text(_TABLES.sub(lambda found: f"{found[1]}{text}{found[2]}", PAGE.read_text()))


def _costs(place: Place, seconds: float) -> Iterator[Cost]:
    asyncio.run(_run(place.grpc, "opening", _deposit_much, 1.0))
    for name, (commands, step) in STEPS.items():
        yield _measured(place, name, partial(_commands_taken, place.grpc, name, step, seconds, commands))
    yield _measured(
        place,
        f"hand ({len(BETS)} contributions and a settlement, each)",
        lambda: hands(place.grpc, seconds, tables=TABLES).calls * (len(BETS) + 1),
    )
    yield _measured(
        place,
        f"deposit, {QUIET_RATE} a second",
        lambda: (
            open_loop(
                place.grpc, seconds, rate=QUIET_RATE, accounts=lambda number: f"capacity-{number % ACCOUNTS}"
            ).calls
        ),
    )


async def _deposit_much(client: AsyncBalanceClient, account_id: str, key: str) -> None:
    await client.deposit(account_id, 1_000_000_000, idempotency_key=key)


def _commands_taken(target: str, name: str, step: Step, seconds: float, each: int) -> int:
    """How many commands were carried out by steps of so many each."""
    return asyncio.run(_run(target, name, step, seconds)) * each


async def _run(target: str, name: str, step: Step, seconds: float) -> int:
    """How often the step was taken, by so many callers at once, on all accounts in turn."""
    run, numbers, taken = f"{name}-{secrets.token_hex(4)}", count(), 0
    until = time.perf_counter() + seconds

    async def caller(client: AsyncBalanceClient) -> None:
        nonlocal taken
        while (number := next(numbers)) < ACCOUNTS or time.perf_counter() < until:
            await step(client, f"capacity-{number % ACCOUNTS}", f"{run}-{number}")
            taken += 1

    async with AsyncBalanceClient(target) as client:
        await asyncio.gather(*(caller(client) for _ in range(IN_FLIGHT)))
    return taken


def _measured(place: Place, name: str, do: Callable[[], int]) -> Cost:
    cpu, memory, counters = cpu_seconds(place.parent), _memory(place), read_counters(place.store)
    commands = do()
    after = read_counters(place.store)
    if after[LOG_BASE] != counters[LOG_BASE]:
        raise RuntimeError("the store has rewritten its log meanwhile: its growth says nothing")
    used = cpu_seconds(place.parent)
    return Cost(
        name,
        cpu={kind: (used[kind] - cpu[kind]) * 1_000 / commands for kind in KINDS},
        memory=(_memory(place) - memory) / commands,
        log=(after[LOG_BYTES] - counters[LOG_BYTES]) / commands,
    )


def _memory(place: Place) -> int:
    """Bytes that the store's data take, without what its connections do."""
    with closing(ValkeyBackend(place.store)) as backend:
        found = backend.call("INFO", "memory").decode()
    fields = dict(line.split(":", 1) for line in found.splitlines() if ":" in line)
    return int(fields["used_memory_dataset"])


def _sizes(place: Place) -> Iterator[str]:
    """What accounts and ledgers take, at rest."""
    with closing(ValkeyBackend(place.store)) as backend:
        backend.call("CONFIG", "SET", "appendfsync", "everysec")  # it is filled, not measured for time
        partitions = int(backend.call("HGET", "balance:meta", "partitions"))
    seeding = Seeder(place.store, partitions)
    before = _memory(place)
    seeding.accounts(range(SEEDED_ACCOUNTS))
    accounts = (_memory(place) - before) / SEEDED_ACCOUNTS
    before = _memory(place)
    seeding.entries("capacity-ledger", SEEDED_ENTRIES)
    entries = (_memory(place) - before) / SEEDED_ENTRIES * 1_000
    seeding.close()
    yield f"- An account with its first entry: {accounts:,.0f} bytes, a million {accounts / 1_000:,.1f} GB."
    yield f"- 1,000 further ledger entries with their idempotency records: {entries / 1_000:,.0f} kB."


def _heading(loads: tuple[float, float, float]) -> Iterator[str]:
    day = datetime.now(UTC).date().isoformat()
    yield (
        f"Measured {day} on {os.cpu_count()} cores, load average {loads[0]:.1f} before it began;"
        f" {IN_FLIGHT} calls in flight unless a row says otherwise."
    )


def _cost_table(costs: list[Cost]) -> Iterator[str]:
    yield "| a command | front end, CPU ms | worker, CPU ms | store, CPU ms | store, bytes | log, bytes |"
    yield "|---|---|---|---|---|---|"
    for cost in costs:
        cpu = " | ".join(f"{cost.cpu[kind]:.3f}" for kind in KINDS)
        yield f"| {cost.name} | {cpu} | {cost.memory:,.0f} | {cost.log:,.0f} |"


def _growth_table(costs: list[Cost]) -> Iterator[str]:
    """So many commands a second, by the dearest row of each column."""
    busy = [cost for cost in costs if not cost.name.endswith("a second")]
    worst = {kind: max(cost.cpu[kind] for cost in busy) for kind in KINDS}
    memory, log = (max(getattr(cost, what) for cost in busy) for what in ("memory", "log"))
    yield (
        f"| commands a second | front ends at {BUSY_SHARE:.0%} | workers at {BUSY_SHARE:.0%} |"
        " store, cores of 1 | log MB/s | memory a day, GB |"
    )
    yield "|---|---|---|---|---|---|"
    for load in LOADS:
        processes = " | ".join(
            f"{-(-load * worst[kind] / 1_000 // BUSY_SHARE):.0f}" for kind in (FRONT_END, WORKER)
        )
        yield (
            f"| {load:,} | {processes} | {load * worst[STORE] / 1_000:.2f} | {load * log / 1e6:.2f} |"
            f" {load * memory * DAY_SECONDS / 1e9:,.1f} |"
        )
    yield ""
    yield (
        f"One store's core is busy to {BUSY_SHARE:.0%} at"
        f" {BUSY_SHARE * 1_000 / worst[STORE]:,.0f} commands a second of the dearest kind."
    )
