"""A real Valkey of the tests' own: started once, killed and started again at will, emptied between tests."""

import asyncio
import signal
import subprocess
from pathlib import Path
from typing import Protocol, Self

from app.storage import fitness
from app.storage.backends.valkey import ValkeyBackend
from app.storage.embedded import EmbeddedStore


class Located(Protocol):
    """A store that processes can be told of."""

    @property
    def url(self) -> str: ...


class RealStore:
    """The embedded server on a folder, as `balance up` would run it."""

    def __init__(self, folder: Path) -> None:
        self._embedded = EmbeddedStore.prepare(folder, memory_mb=512)
        self._process: subprocess.Popen[bytes] | None = None
        self._backends: list[ValkeyBackend] = []

    @property
    def url(self) -> str:
        return self._embedded.url

    def start(self) -> Self:
        process = self._process = subprocess.Popen(self._embedded.command())
        asyncio.run(self._embedded.wait_until_ready(alive=lambda: process.poll() is None))
        return self

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the server: by SIGKILL without a chance to say goodbye. Its data stays in its folder."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()

    def stop(self) -> None:
        for backend in self._backends:
            backend.close()
        self._backends.clear()
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def backend(self) -> ValkeyBackend:
        """One more connection, closed when the store stops."""
        backend = ValkeyBackend(self.url)
        self._backends.append(backend)
        return backend

    def empty(self, partitions: int = 4) -> None:
        """Forget everything, then lay the layout and the function library as a new store has them."""
        backend = self.backend()
        backend.call("FLUSHALL")
        backend.call("FUNCTION", "FLUSH")
        fitness.check(backend, partitions=partitions, allow_weak=False)
