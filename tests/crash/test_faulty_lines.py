"""Lines to the store that lose, delay and double: under load, with every process of a kind behind one."""

import asyncio
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest

from app.storage import library
from tests.crash.kills import WORKERS, out_of_order
from tests.crash.witness import PARTITIONS, Witness
from tests.support.deployment import Deployment, deployment
from tests.support.load import ABANDONED, STALE, Load, load_on
from tests.support.proxy import Fate, Met, Proxy, by_chance, proxy
from tests.support.waiting import soon

WORKER, FRONT_END = "workers", "front-ends"
FRONT_ENDS = 2
DEADLINE_SECONDS = 2.0
EVERY, EVERY_WRITE = 40, 10
# Longer than a lease for workers. The messages of a front end travel in one write, and their delays add up.
LONGEST_SECONDS = {WORKER: 3.0, FRONT_END: 0.4}
# What changes something: each of these must have met every fate so often, or the run proves nothing.
WRITES = {WORKER: library.COMMIT, FRONT_END: "XADD"}
FAILURES = {ABANDONED, STALE, "UNAVAILABLE", "DEADLINE_EXCEEDED"}
SOAK = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("behind", "each"),
    [
        ((WORKER, FRONT_END), 2),
        *(pytest.param(kinds, 100, marks=SOAK) for kinds in ((WORKER,), (FRONT_END,), (WORKER, FRONT_END))),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else f"{value}-each",
)
def test_a_faulty_line_loses_nothing_and_repeats_nothing(
    behind: tuple[str, ...], each: int, tmp_path: Path
) -> None:
    """
    Given load, and processes whose line to the store loses, delays and doubles replies, and doubles requests
    Expect each call to have its one effect, in the order of the queue.
    """
    seed = secrets.randbits(32)
    with deployment(tmp_path, PARTITIONS) as service, proxies(service, behind, seed) as lines:
        for _ in range(WORKERS):
            service.worker(**at(lines, WORKER))
        for _ in range(FRONT_ENDS):
            service.front_end(GRPC_PROCESSES=str(FRONT_ENDS), **at(lines, FRONT_END))
        load, disorder = asyncio.run(_run(service, lines, seed, each))
        verified = service.verify()
    sys.stdout.write(_told(seed, load, lines))

    assert load.checker.problems() == []
    assert disorder == []
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert {attempt.outcome for attempt in load.failures} <= FAILURES


@contextmanager
def proxies(service: Deployment, behind: tuple[str, ...], seed: int) -> Iterator[Mapping[str, Proxy]]:
    """A faulty line for each of these kinds of processes."""
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(
                proxy(
                    service.store.url,
                    by_chance(Random(f"{seed}-{kind}"), EVERY, {WRITES[kind]: EVERY_WRITE}),
                    seed=seed,
                    longest_seconds=LONGEST_SECONDS[kind],
                )
            )
            for kind in behind
        }


def at(lines: Mapping[str, Proxy], kind: str) -> dict[str, str]:
    """The environment of a process of that kind."""
    return {"REDIS_URL": lines[kind].url} if kind in lines else {}


async def _run(
    service: Deployment, lines: Mapping[str, Proxy], seed: int, each: int
) -> tuple[Load, list[str]]:
    """The load, and where a ledger is not in the order of the queue."""
    wanted = [(line, Met(fate, WRITES[kind])) for kind, line in lines.items() for fate in Fate]
    async with Witness(service.store.url) as witness:
        async with load_on(service.address, seed, deadline_seconds=DEADLINE_SECONDS) as load:
            await soon(
                lambda: all(line.met[met] >= each for line, met in wanted), within_seconds=40 + 6 * each
            )
            for line in lines.values():
                line.calm_down()
        ledgers = await witness.ledgers({asked.account_id for asked in load.asked})
    return load, [problem for ledger in ledgers for problem in out_of_order(ledger)]


def _told(seed: int, load: Load, lines: Mapping[str, Proxy]) -> str:
    first = f"seed {seed}: {len(load.asked)} calls, {len(load.failures)} attempts failed"
    return "\n  ".join([first, *(f"{kind}: {_met(line)}" for kind, line in lines.items())]) + "\n"


def _met(line: Proxy) -> str:
    met = ", ".join(f"{name} {fate} {count}" for (fate, name), count in sorted(line.met.items()))
    return f"{line.met.total()} faults in {line.requests.total()} requests: {met}"
