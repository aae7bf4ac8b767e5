"""The primary is killed or hands over under load: what waited for the disk of a replica is not lost."""

import asyncio
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.crash.witness import PARTITIONS
from tests.support.deployment import Processes
from tests.support.load import ABANDONED, STALE, Load, all_answered, load_on
from tests.support.replicas import Replicated, replicated
from tests.support.telling import Tell
from tests.support.waiting import soon
from tests.support.workers import crew

FAILURES = {ABANDONED, STALE, "UNAVAILABLE", "DEADLINE_EXCEEDED"}
LEAST_IN_FLIGHT = 32
ANSWERED_WITHIN_SECONDS = 30.0
SOAK = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.mark.parametrize("failovers", [2, pytest.param(20, marks=SOAK)])
def test_a_failover_loses_nothing(failovers: int, seed: int, tell: Tell, tmp_path: Path) -> None:
    """
    Given load, and answers that wait for the disk of the one replica
    If the primary is killed, or hands over in good order, in turn, and follows the one that was promoted
    Expect each call to have its one effect, and every process to carry on by itself.
    """
    with replicated(tmp_path) as store, crew(store, tmp_path) as hired:
        service = Processes(store, hired, PARTITIONS)
        processes = [
            *(service.worker(WAIT_REPLICAS="1") for _ in range(2)),
            service.front_end(WAIT_REPLICAS="1"),
        ]
        load = asyncio.run(_fail_over(service, store, seed, failovers))
        verified = service.verify()
        assert all(process.running for process in processes), "nobody has to be started again"
    in_doubt = sum(attempt.outcome == "DEADLINE_EXCEEDED" for attempt in load.failures)
    counts = {"failovers": failovers, "calls": len(load.asked), "in doubt": in_doubt}
    tell("failovers", counts | {"attempts failed": len(load.failures)})

    assert load.checker.problems() == []
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert {attempt.outcome for attempt in load.failures} <= FAILURES


async def _fail_over(service: Processes, store: Replicated, seed: int, failovers: int) -> Load:
    await service.until_serving()
    async with load_on(service.address, seed) as load:
        for change in islice(cycle((store.fail_over, store.hand_over)), failovers):
            await soon(lambda: len(load.in_flight) >= LEAST_IN_FLIGHT)
            in_flight = frozenset(load.in_flight)
            await asyncio.to_thread(change)
            await all_answered(in_flight, ANSWERED_WITHIN_SECONDS)
    return load
