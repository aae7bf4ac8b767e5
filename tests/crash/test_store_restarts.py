"""The store is stopped and started again under load, in good order or killed: nothing needs a hand then."""

import asyncio
import secrets
import signal
import sys
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.crash.kills import ANSWERED_WITHIN_SECONDS, WORKERS, out_of_order, work_in_hand
from tests.crash.witness import PARTITIONS, Witness
from tests.support.deployment import Deployment, deployment
from tests.support.load import ABANDONED, STALE, Load, all_answered, load_on, now_ms
from tests.support.waiting import soon

FAILURES = {ABANDONED, STALE, "UNAVAILABLE", "DEADLINE_EXCEEDED"}
SOAK = [pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.mark.parametrize("restarts", [2, pytest.param(20, marks=SOAK)])
def test_a_store_that_is_restarted_loses_nothing(restarts: int, tmp_path: Path) -> None:
    """
    Given load
    If the store is ended by SIGTERM and by SIGKILL in turn, and started on its folder
    Expect what was in flight to be answered each time, new calls too, and each call to have its one effect.
    """
    seed = secrets.randbits(32)
    with deployment(tmp_path, PARTITIONS) as service:
        processes = [*(service.worker() for _ in range(WORKERS)), service.front_end()]
        load, disorder = asyncio.run(_restart_store(service, seed, restarts))
        verified = service.verify()
        assert all(process.running for process in processes), "nobody has to be started again"
    sys.stdout.write(f"seed {seed}: {len(load.asked)} calls, {len(load.failures)} attempts failed\n")

    assert load.checker.problems() == []
    assert disorder == []
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert {attempt.outcome for attempt in load.failures} <= FAILURES


async def _restart_store(service: Deployment, seed: int, restarts: int) -> tuple[Load, list[str]]:
    """The load, and where a ledger is not in the order of the queue."""
    async with Witness(service.store.url) as witness:
        async with load_on(service.address, seed) as load:
            for number in islice(cycle((signal.SIGTERM, signal.SIGKILL)), restarts):
                await work_in_hand(load, witness)
                in_flight = frozenset(load.in_flight)
                service.store.kill(number)
                await asyncio.to_thread(service.store.start)
                await all_answered(in_flight, ANSWERED_WITHIN_SECONDS)
                await soon(partial(_answered, load, now_ms()), ANSWERED_WITHIN_SECONDS)
        ledgers = await witness.ledgers({asked.account_id for asked in load.asked})
    return load, [problem for ledger in ledgers for problem in out_of_order(ledger)]


def _answered(load: Load, since_ms: int) -> bool:
    """True when a call that was first made since then has its answer."""
    return any(asked.done.is_set() and asked.attempts[0].sent_at >= since_ms for asked in load.asked)
