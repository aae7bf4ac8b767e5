"""A new release is rolled out under load: workers are replaced unnoticed, front ends cost a retry."""

import asyncio
import secrets
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.crash.kills import WORKERS
from tests.crash.witness import PARTITIONS, Witness
from tests.support.deployment import Deployment, deployment
from tests.support.load import Load, load_on
from tests.support.waiting import soon
from tests.support.workers import WorkerProcess

FRONT_ENDS = 2
# gRPC finishes the calls that a front end has begun; those it has not looked at yet it turns away.
TURNED_AWAY = {"CANCELLED", "UNAVAILABLE"}
NORMAL_DEADLINE_SECONDS = 5.0
# Steady, but no more than a busy machine carries well within the deadline.
HASTY, PATIENT, LEAST_IN_FLIGHT = 12, 4, 8
SOAK = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=SOAK)])
def test_workers_are_replaced_in_turn_and_no_call_fails(rounds: int, tmp_path: Path) -> None:
    """
    Given callers with the usual deadline, who ask once
    If each worker in turn is ended by SIGTERM and followed by a new one, again and again
    Expect an answer to every call.
    """
    seed = secrets.randbits(32)
    with deployment(tmp_path, PARTITIONS) as service:
        service.front_end()
        load = asyncio.run(_replace_workers(service, seed, rounds))
        verified = service.verify()
    sys.stdout.write(f"seed {seed}: {len(load.asked)} calls, {rounds * WORKERS} workers replaced\n")

    assert load.failures == []
    assert load.checker.problems() == []
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def _replace_workers(service: Deployment, seed: int, rounds: int) -> Load:
    workers = [service.worker() for _ in range(WORKERS)]
    async with Witness(service.store.url) as witness:
        await service.until_serving()
        await witness.shared_by(WORKERS)
        async with _callers(service, seed) as load:
            for _ in range(rounds):
                for number, old in enumerate(workers):
                    await soon(lambda: len(load.in_flight) >= LEAST_IN_FLIGHT)
                    assert await asyncio.to_thread(old.stop) == 0
                    workers[number] = service.worker()
                    await witness.shared_by(WORKERS)
    return load


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=SOAK)])
def test_front_ends_are_replaced_in_turn_and_nothing_is_lost(rounds: int, tmp_path: Path) -> None:
    """
    Given two front ends that share a port
    If they are replaced in the same way
    Expect each to finish what it has begun: no call is left without an answer, only turned away at once.
    """
    seed = secrets.randbits(32)
    with deployment(tmp_path, PARTITIONS) as service:
        for _ in range(WORKERS):
            service.worker()
        load = asyncio.run(_replace_front_ends(service, seed, rounds))
        verified = service.verify()
    sys.stdout.write(
        f"seed {seed}: {len(load.asked)} calls, {rounds * FRONT_ENDS} front ends replaced, "
        f"{len(load.failures)} attempts turned away\n"
    )

    assert {attempt.outcome for attempt in load.failures} <= TURNED_AWAY
    assert load.checker.problems() == []
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def _replace_front_ends(service: Deployment, seed: int, rounds: int) -> Load:
    front_ends = [await _new_front_end(service) for _ in range(FRONT_ENDS)]
    async with Witness(service.store.url) as witness:
        await service.until_serving()
        await witness.shared_by(WORKERS)
        async with _callers(service, seed) as load:
            for _ in range(rounds):
                for number, old in enumerate(front_ends):
                    await soon(lambda: len(load.in_flight) >= LEAST_IN_FLIGHT)
                    old.signal(signal.SIGTERM)
                    assert await asyncio.to_thread(old.wait) == 0
                    front_ends[number] = await _new_front_end(service)
    return load


async def _new_front_end(service: Deployment) -> WorkerProcess:
    """One more front end, which listens."""
    front_end = service.front_end(GRPC_PROCESSES=str(FRONT_ENDS), LOG_LEVEL="info")
    await soon(lambda: "gRPC on" in front_end.log, within_seconds=20)
    return front_end


def _callers(service: Deployment, seed: int) -> AbstractAsyncContextManager[Load]:
    return load_on(
        service.address,
        seed,
        patience_seconds=None,
        deadline_seconds=NORMAL_DEADLINE_SECONDS,
        hasty=HASTY,
        patient=PATIENT,
    )
