"""The service as single processes on one store: each with a line to it, and an environment, of its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.rpc.health import is_serving
from tests.support.ports import free_port
from tests.support.store import Located, RealStore
from tests.support.waiting import LOOK_EVERY_SECONDS
from tests.support.workers import ROOT, Crew, WorkerProcess, crew

READY_SECONDS = 20.0


class Processes:
    """The processes that were started on a store so far; all gRPC is at `address`."""

    def __init__(self, store: Located, crew: Crew, partitions: int) -> None:
        self._located = store
        self._crew = crew
        self._port = free_port()
        self._environ = {"PARTITIONS": str(partitions), "LOG_LEVEL": "warning", "GRPC_PORT": self._port}

    @property
    def address(self) -> str:
        """Where the gRPC front ends listen."""
        return f"127.0.0.1:{self._port}"

    def worker(self, *command: str, **environ: str) -> WorkerProcess:
        """Start a worker, by a module of its own and its arguments where they are given."""
        return self._crew.hire(*(command or ("workers.main",)), **self._environ | environ)

    def front_end(self, *command: str, **environ: str) -> WorkerProcess:
        """Start a process of the gRPC front end; the same."""
        return self._crew.hire(*(command or ("app.cli", "grpc")), **self._environ | environ)

    async def until_serving(self) -> None:
        """Wait until a front end has found the store, and every partition an owner."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                if await is_serving(self.address):
                    return
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    def verify(self, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run `balance verify` on the store, past all proxies."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", "verify", "--json"],
            cwd=ROOT,
            env=os.environ | {"REDIS_URL": self._located.url} | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )


class Deployment(Processes):
    """A store of its own, and processes on it."""

    def __init__(self, store: RealStore, crew: Crew, partitions: int) -> None:
        super().__init__(store, crew, partitions)
        self.store = store


@contextmanager
def deployment(folder: Path, partitions: int) -> Iterator[Deployment]:
    """A running store without processes; whatever is started on it is killed at the end."""
    store = RealStore(folder / "data")
    store.start()
    store.empty(partitions)
    try:
        with crew(store, folder) as hired:
            yield Deployment(store, hired, partitions)
    finally:
        store.stop()
