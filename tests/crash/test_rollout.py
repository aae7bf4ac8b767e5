"""A release is rolled out: every process but the store is replaced under load, as an orchestrator would."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from app.domain.identifiers import partition_of
from app.storage import keys
from tests.crash.witness import PARTITIONS, Witness
from tests.support.deployment import Deployment, deployment
from tests.support.gateways import Gateways, gateways
from tests.support.load import OK, Asked, Load, load_on
from tests.support.ports import free_port
from tests.support.telling import Tell
from tests.support.tokens import SECRET
from tests.support.waiting import eventually, soon
from tests.support.workers import WorkerProcess

EACH = 2
READY_SECONDS = 60.0
REFUSED_MS = 1_000
TURNED_AWAY = {"CANCELLED", "UNAVAILABLE"}
ONCE = pytest.mark.timeout(300)
SOAK = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.mark.parametrize("rounds", [pytest.param(1, marks=ONCE), pytest.param(10, marks=SOAK)])
def test_a_rollout_loses_nothing_and_refuses_nothing_for_long(
    rounds: int, seed: int, tell: Tell, tmp_path: Path
) -> None:
    """
    Given two of each process, callers by gRPC, and gateways by HTTP
    If each process in turn is joined by a new one, and ended when that is ready
    Expect each call to have its one effect, and none to be turned away for longer than a second.
    """
    with deployment(tmp_path, PARTITIONS) as service:
        rollout = Rollout(service)
        load, http = asyncio.run(rollout.run(seed, rounds))
        backend = service.store.backend()
        held = {
            each: int(backend.call("HGET", keys.account(partition_of(each, PARTITIONS), each), "balance"))
            for each in http.deposits
        }
        verified = service.verify()
    refused_ms = max([int(http.refused_ms), *map(refused, load.asked)])
    calls = {"calls": len(load.asked), "deposits by HTTP": sum(http.deposits.values())}
    calls |= {"processes replaced": 5 * EACH * rounds, "longest refusal in ms": refused_ms}
    tell("rollouts", calls)

    assert load.checker.problems() == []
    assert {attempt.outcome for attempt in load.failures} <= TURNED_AWAY
    assert http.odd == []
    assert held == http.deposits
    assert len(held) == EACH
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert refused_ms < REFUSED_MS


def refused(asked: Asked) -> int:
    """The time between the first and the last refusal of a call, in ms."""
    ends = [attempt.ended_at for attempt in asked.attempts if attempt.outcome != OK]
    return ends[-1] - ends[0] if ends else 0


class Rollout:
    """The processes of a service, of which each is replaced by one that was ready before it went."""

    def __init__(self, service: Deployment) -> None:
        self._service = service
        self._ports: list[str] = []

    async def run(self, seed: int, rounds: int) -> tuple[Load, Gateways]:
        """Replace all of them so often, under load; what the callers lived."""
        async with Witness(self._service.store.url) as witness:
            parts = [self._worker, self._scheduler, self._auditor, self._grpc, self._http]
            running = [[await start() for _ in range(EACH)] for start in parts]
            await self._service.until_serving()
            await witness.shared_by(EACH)
            load_of_grpc = load_on(
                self._service.address, seed, patience_seconds=None, deadline_seconds=5.0, hasty=12, patient=4
            )
            with gateways(self._ports, EACH) as http:
                async with load_of_grpc as load:
                    for _ in range(rounds):
                        for start, processes in zip(parts, running, strict=True):
                            await self._replace(start, processes, witness)
                await soon(lambda: len(http.deposits) == EACH)
        return load, http

    async def _replace(
        self, start: Callable[[], Awaitable[WorkerProcess]], processes: list[WorkerProcess], witness: Witness
    ) -> None:
        for _ in range(EACH):
            processes.append(await start())
            old = processes.pop(0)
            if start == self._http:
                self._ports.pop(0)  # a load balancer is told first
            old.signal(signal.SIGTERM)
            assert await asyncio.to_thread(old.wait) == 0
            await witness.shared_by(EACH)

    async def _worker(self) -> WorkerProcess:
        return self._service.worker()

    async def _scheduler(self) -> WorkerProcess:
        return self._service.worker("scheduler.main")

    async def _auditor(self) -> WorkerProcess:
        return self._service.worker("workers.auditor")

    async def _grpc(self) -> WorkerProcess:
        started = self._service.front_end(GRPC_PROCESSES=str(EACH), LOG_LEVEL="info")
        await soon(lambda: "gRPC on" in started.log, READY_SECONDS)
        return started

    async def _http(self) -> WorkerProcess:
        port = free_port()
        started = self._service.front_end("app.cli", "http", HTTP_PORT=port, JWT_HS256_SECRET=SECRET)
        # Beside the load: looked at from its loop, a starting front end held every call up for seconds.
        await asyncio.to_thread(eventually, lambda: is_up(port), READY_SECONDS)
        self._ports.append(port)
        return started


def is_up(port: str) -> bool:
    """True when the front end there answers, as a load balancer asks."""
    connection = HTTPConnection(f"127.0.0.1:{port}", timeout=2)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
