"""Workers for tests: in this process, or as processes that are stopped, frozen and killed at will."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dramatiq

from app.bootstrap import WorkerParts
from app.config import Settings
from app.queueing.limits import READ_BLOCK_MS
from app.services.queue import Lane
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from tests.support.carrying import PARTITIONS
from tests.support.store import Located
from tests.support.waiting import eventually
from workers.main import build

ROOT = Path(__file__).resolve().parents[2]


def settings_for(store: Located, **changed: Any) -> Settings:
    """The settings of a process that works on the store."""
    return Settings(redis_url=store.url, partitions=PARTITIONS, **changed)


@contextmanager
def working(parts: WorkerParts) -> Iterator[None]:
    """Dramatiq's own worker runs these parts, in threads of this process."""
    worker = dramatiq.Worker(parts.broker, worker_timeout=READ_BLOCK_MS, worker_threads=1)
    worker.start()
    try:
        yield
    finally:
        worker.stop(timeout=5_000)
        parts.broker.close()


@contextmanager
def a_worker(store: Located) -> Iterator[WorkerParts]:
    """A whole worker in this process."""
    parts = build(settings_for(store))
    with working(parts):
        yield parts


class WorkerProcess:
    """A worker as a process of its own; its log is kept to be looked into."""

    def __init__(self, store: Located, log: Path, *command: str, **environ: str) -> None:
        self._log = log
        own = {"REDIS_URL": store.url, "PARTITIONS": str(PARTITIONS), "LOG_LEVEL": "info"}
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *(command or ("workers.main",))],
                cwd=ROOT,
                env=os.environ | own | environ,
                stdout=stderr,
                stderr=stderr,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, within_seconds: float = 15) -> int:
        """Return the exit code of the process when it has ended."""
        return self._process.wait(timeout=within_seconds)

    def stop(self) -> int:
        """Tell it to stop, and return its exit code when it has."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self._process.kill()
        self._process.wait()

    def wait_until_frozen(self) -> None:
        """Return when the process has been stopped by SIGSTOP."""
        flags = os.WUNTRACED | os.WNOHANG
        eventually(lambda: os.WIFSTOPPED(os.waitpid(self._process.pid, flags)[1]), within_seconds=15)


class Crew:
    """The worker processes of one test; whoever is left at its end is killed."""

    def __init__(self, store: Located, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self.hired: list[WorkerProcess] = []

    def hire(self, *command: str, **environ: str) -> WorkerProcess:
        log = self._folder / f"worker-{len(self.hired)}.log"
        worker = WorkerProcess(self._store, log, *command, **environ)
        self.hired.append(worker)
        return worker

    def dismiss(self) -> None:
        for worker in self.hired:
            worker.kill()


@contextmanager
def crew(store: Located, folder: Path) -> Iterator[Crew]:
    """Workers on the store, as many as a test hires."""
    found = Crew(store, folder)
    try:
        yield found
    finally:
        found.dismiss()


def owners(backend: ValkeyBackend) -> list[str]:
    """Who owns each partition, "" where nobody does."""
    return [
        (backend.call("HGET", keys.partition(each), "owner") or b"").decode() for each in range(PARTITIONS)
    ]


def shares(backend: ValkeyBackend) -> list[int]:
    """How many partitions each owner has, the smallest share first."""
    found = owners(backend)
    return sorted(found.count(owner) for owner in set(found) if owner)


def all_owned(backend: ValkeyBackend, by: int = 1) -> None:
    """Wait until every partition has an owner, and there are so many of them, with even shares."""
    eventually(lambda: sum(shares(backend)) == PARTITIONS and len(shares(backend)) == by, within_seconds=15)
    eventually(lambda: max(shares(backend)) - min(shares(backend)) <= 1)


def waiting(backend: ValkeyBackend, partition: int, lane: Lane = Lane.INTERACTIVE) -> int:
    """How many messages are in a queue."""
    return int(backend.call("XLEN", keys.queue(partition, lane)))
