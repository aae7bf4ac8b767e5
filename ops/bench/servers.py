"""What the benchmarks call: each kind of server, started for a while, as processes of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from app.storage import fitness
from app.storage.auditing import partitions_of
from app.storage.backends.valkey import ValkeyBackend
from app.storage.embedded import EmbeddedStore
from ops.bench.seeding import Seeder, seed_accounts, seeder


@dataclass(slots=True, frozen=True)
class Place:
    """A running server: its gRPC address, the URL of its store, and whose children its processes are.

    `http` and `token` are the address of the HTTP front end and what lets callers in.
    """

    grpc: str
    store: str
    parent: int
    http: str = ""
    token: str = ""

    @property
    def is_service(self) -> bool:
        """True for the whole service, which has both."""
        return bool(self.grpc and self.store)


Server = Callable[[], AbstractContextManager[Place]]
Seed = Callable[[Seeder], None]


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


@contextmanager
def started(
    argv: Sequence[str], environ: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """A child process; it is stopped, and gone, at the end."""
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=os.environ | (environ or {}))
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=30)


def _first_line(child: "subprocess.Popen[str]") -> str:
    line = child.stdout.readline().strip() if child.stdout else ""
    if not line:
        raise RuntimeError("a server did not start; its reasons are on standard error")
    return line


@contextmanager
def echo() -> Iterator[Place]:
    """The bare echo."""
    with started(python("ops.bench.echo")) as child:
        yield Place(f"127.0.0.1:{_first_line(child)}", "", os.getpid())


@contextmanager
def service(workers: int = 1, accounts: int = 0, seed: Seed | None = None) -> Iterator[Place]:
    """The whole service on a store of its own, with that many seeded accounts and whatever else is seeded."""
    environ = {"LOG_LEVEL": "warning", "WORKERS": str(workers)}
    with started(python("app.cli", "up", "--ephemeral"), environ) as child:
        running = json.loads(_first_line(child))
        url = running["redis_url"]
        with closing(ValkeyBackend(url)) as backend:
            # A rewrite of the log takes a core for a while: which rows it meets would be chance.
            backend.call("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
            if accounts or seed:
                _seed(backend, url, accounts, seed)
        yield Place(running["grpc"], url, child.pid, running["http"], running["token"])


def _seed(backend: ValkeyBackend, url: str, accounts: int, seed: Seed | None) -> None:
    backend.call("CONFIG", "SET", "appendfsync", "everysec")
    partitions = partitions_of(backend)
    seed_accounts(url, partitions, accounts)
    if seed:
        with seeder(url, partitions) as seeding:
            seed(seeding)
    backend.call("CONFIG", "SET", "appendfsync", "always")


@contextmanager
def store_alone(partitions: int, seed: Seed) -> Iterator[str]:
    """A store without the service, seeded; its URL."""
    with TemporaryDirectory(prefix="balance-bench-") as folder:
        store = EmbeddedStore.prepare(Path(folder), memory_mb=None)
        with started(store.command()) as server:
            asyncio.run(store.wait_until_ready(alive=lambda: server.poll() is None))
            with closing(ValkeyBackend(store.url)) as backend:
                fitness.check(backend, partitions=partitions, allow_weak=False)
                backend.call("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
                _seed(backend, store.url, 0, seed)
            yield store.url


@contextmanager
def stock() -> Iterator[Place]:
    """A worker of stock Dramatiq on a store of its own, which is as durable as the service's."""
    with TemporaryDirectory(prefix="balance-bench-") as folder:
        store = EmbeddedStore.prepare(Path(folder), memory_mb=512)
        with started(store.command()) as server:
            asyncio.run(store.wait_until_ready(alive=lambda: server.poll() is None))
            with started(python("ops.bench.stock", store.url)) as worker:
                _first_line(worker)
                yield Place("", store.url, os.getpid())
