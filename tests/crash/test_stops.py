"""Workers are asked to stop, or freeze, while they work: callers notice a pause at most."""

import asyncio
import os
import signal
import sys
from random import Random

from tests.crash.kills import WORKERS, work_in_hand
from tests.crash.processes import Kind, pids
from tests.crash.witness import PARTITIONS, Witness, commits, tapped
from tests.support.load import ABANDONED, Load, all_answered, load_on, now_ms
from tests.support.service import RunningService, balance, running_service

STOPS = 3
LATE_COMMITS = 2
MOST_FREEZES = 6  # a worker may freeze between two units; most freezes find it in the middle of one
ANSWERED_WITHIN_SECONDS = 10.0


def test_a_worker_that_is_asked_to_stop_hands_over(seed: int) -> None:
    """Given patient callers. If SIGTERM ends a worker at work, several times. Expect that no call fails, and
    that its partitions are given up while their leases run: handed over, not left to lapse.
    """
    with running_service(WORKERS=str(WORKERS), PARTITIONS=str(PARTITIONS)) as service:
        load, too_late = asyncio.run(_stop_workers(service, seed))
        verified = balance(service, "verify", "--json")
    sys.stdout.write(f"seed {seed}: {len(load.asked)} calls\n")

    assert too_late == []
    assert load.failures == []
    assert load.checker.problems() == []
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def _stop_workers(service: RunningService, seed: int) -> tuple[Load, list[int]]:
    """The load, and for each partition given up too late, by how many ms its lease was over."""
    rng, too_late = Random(seed), []
    async with (
        Witness(service.redis_url) as witness,
        load_on(service.grpc, seed, patience_seconds=None) as load,
    ):
        for _ in range(STOPS):
            await witness.shared_by(WORKERS)
            pid = rng.choice(pids(service, Kind.WORKER))
            await work_in_hand(load, witness)
            before, in_flight = await witness.ownerships(), frozenset(load.in_flight)
            os.kill(pid, signal.SIGTERM)
            await witness.left({each.owner for each in before})
            too_late += [now_ms() - each.until for each in before if now_ms() > each.until]
            await all_answered(in_flight, ANSWERED_WITHIN_SECONDS)
    return load, too_late


def test_a_worker_that_froze_commits_nothing_when_it_thaws(seed: int) -> None:
    """Given load. If a worker freezes at work until another took over, then thaws. Expect its late commit,
    made under the epoch it once had, to change nothing.
    """
    with running_service(WORKERS=str(WORKERS), PARTITIONS=str(PARTITIONS)) as service:
        load, late_commits = asyncio.run(_freeze_workers(service, seed))
        verified = balance(service, "verify", "--json")
    sys.stdout.write(f"seed {seed}: {len(load.asked)} calls, {late_commits} late commits\n")

    assert late_commits >= LATE_COMMITS
    assert load.checker.problems() == []
    assert {attempt.outcome for attempt in load.failures} <= {ABANDONED}
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def _freeze_workers(service: RunningService, seed: int) -> tuple[Load, int]:
    """The load, and how many commits were attempted under an epoch that was over."""
    rng, late_commits = Random(seed), 0
    async with Witness(service.redis_url) as witness, load_on(service.grpc, seed) as load:
        for _ in range(MOST_FREEZES):
            before = await witness.shared_by(WORKERS)
            pid = rng.choice(pids(service, Kind.WORKER))
            await work_in_hand(load, witness)
            os.kill(pid, signal.SIGSTOP)
            await witness.left({each.owner for each in before})
            epochs = [each.epoch for each in await witness.shared_by(WORKERS - 1)]
            async with tapped(service.redis_url) as lines:
                os.kill(pid, signal.SIGCONT)
                await witness.shared_by(WORKERS)
            late_commits += sum(
                any(epoch < epochs[partition] for partition, epoch in commit.items())
                for commit in commits(lines)
            )
            if late_commits >= LATE_COMMITS:
                break
    return load, late_commits
