"""A line to the store on which replies get lost, late or doubled, and requests arrive twice.

Speaks just enough of the server's protocol (RESP 2) to know where a request and its reply end.
"""

import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum, auto
from io import BufferedIOBase
from random import Random
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

DOUBLED_BYTES = 4_096  # so little arrives in one piece: the second copy is there before the next request


class Fate(StrEnum):
    """What can become of a request that reaches the store, and of its reply."""

    LOST = auto()  # the reply never arrives: the connection breaks
    LATE = auto()  # the reply takes its time
    TWICE = auto()  # the request is carried out twice; either reply arrives
    DOUBLED = auto()  # the reply arrives twice


Choice = Callable[[str], Fate | None]
"""Chooses the fate of a request by its name: the command, or the function that is called."""


class Met(NamedTuple):
    """A fate, and the name of the request that met it."""

    fate: Fate
    name: str


def by_chance(rng: Random, every: int, often: Mapping[str, int]) -> Choice:
    """About one request in `every` meets a fate; of those that are named, one in so many."""
    return lambda name: rng.choice(list(Fate)) if rng.randrange(often.get(name, every)) == 0 else None


class Proxy(socketserver.ThreadingTCPServer):
    """Stands between processes and the store. `requests` counts what was asked, `met` what became of it."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, store_url: str, choose: Choice, rng: Random, longest_seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.store = unquote(urlsplit(store_url).path)
        self.requests: Counter[str] = Counter()
        self.met: Counter[Met] = Counter()
        self._choose = choose
        self._rng = rng
        self._longest_seconds = longest_seconds
        self._calm = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where the processes find it, in the place of the store."""
        return f"redis://127.0.0.1:{self.server_address[1]}"

    def calm_down(self) -> None:
        """From now on pass everything on."""
        self._calm.set()

    def fate(self, name: str) -> Fate | None:
        """What becomes of the next request, which has this name."""
        with self._lock:
            self.requests[name] += 1
            fate = None if self._calm.is_set() else self._choose(name)
            if fate is not None:
                self.met[Met(fate, name)] += 1
            return fate

    def lets_pass(self, request: bytes) -> bool:
        """Whether a request comes through to the store; its connection breaks if not."""
        return True

    def lets_back(self, request: bytes, reply: bytes) -> bool:
        """Whether the reply comes back; its connection breaks if not."""
        return True

    def delay(self) -> None:
        """Wait, mostly for a short while."""
        time.sleep(self._longest_seconds * self._rng.random() ** 6)

    def second(self) -> bool:
        """Whether it is the second one of two replies that arrives."""
        return self._rng.random() < 0.5


@contextmanager
def proxy(store_url: str, choose: Choice, *, seed: int = 0, longest_seconds: float = 0.4) -> Iterator[Proxy]:
    """A proxy in front of a store that listens on a unix socket."""
    with Proxy(store_url, choose, Random(seed), longest_seconds) as found, serving(found):
        yield found


@contextmanager
def serving(line: Proxy) -> Iterator[None]:
    """The proxy passes on, in threads of this process, while the block runs."""
    thread = threading.Thread(target=line.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield
    line.shutdown()
    thread.join()


class _Conversation(socketserver.StreamRequestHandler):
    """One connection of a process, with one of its own to the store; requests are passed on one by one."""

    server: Proxy
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as store:
            store.connect(self.server.store)
            with store.makefile("rb") as replies:
                while request := _read(self.rfile):
                    name = _name(request)
                    fate = self.server.fate(name)
                    if not self.server.lets_pass(request):
                        return
                    store.sendall(request)
                    reply = self._reply(store, replies, request, fate)
                    if fate is Fate.LOST or not reply or not self.server.lets_back(request, reply):
                        return
                    double = fate is Fate.DOUBLED and len(reply) <= DOUBLED_BYTES
                    self.request.sendall(reply * 2 if double else reply)

    def _reply(
        self, store: socket.socket, replies: BufferedIOBase, request: bytes, fate: Fate | None
    ) -> bytes:
        """The reply that is to be passed on, b"" when the store has closed the connection."""
        reply = _read(replies)
        if fate is Fate.TWICE:
            store.sendall(request)
            again = _read(replies)
            reply = again if self.server.second() else reply
        elif fate is Fate.LATE:
            self.server.delay()
        return reply


def _read(stream: BufferedIOBase) -> bytes:
    """One request or reply, whole; b"" at the end of the stream."""
    line = stream.readline()
    kind, length = line[:1], line[1:-2]
    if kind == b"$" and length != b"-1":
        return line + stream.read(int(length) + 2)
    if kind == b"*" and length != b"-1":
        return line + b"".join(_read(stream) for _ in range(int(length)))
    return line


def _name(request: bytes) -> str:
    """The command, or the function that it calls: the first or second of the request's words."""
    words = request.split(b"\r\n", 5)[2::2]
    called = words[0].upper() in {b"FCALL", b"FCALL_RO"}
    return words[called].decode()
