"""Connections to the store: whatever breaks, and whenever, nothing is ever sent twice."""

import asyncio
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle

import pytest

from app.services.faults import StoreUnavailable, Unavailable
from app.services.queue import Lane
from app.storage.backends.valkey import ValkeyBackend
from app.storage.backends.valkey_async import AsyncCommandLog, AsyncConnection
from tests.support.grounds import plan_of
from tests.support.proxy import Fate, proxy
from tests.support.store import RealStore

WRITES = (b"FCALL", b"XADD", b"XREAD")
COMMAND = re.compile(rb"^\*\d+\r$", re.MULTILINE)
STREAM = (1, Lane.BULK)
WORDS = [b"one", b"two", b"three", b"four", b"five", b"six"]


class BreakingServer(socketserver.ThreadingTCPServer):
    """Breaks every connection: at the first word if it is `deaf`, else when it has read a call of ours."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *, deaf: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.deaf = deaf
        self.connections = 0
        self.calls = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server_address[1]}"


class _Conversation(socketserver.BaseRequestHandler):
    server: BreakingServer

    def handle(self) -> None:
        self.server.connections += 1
        while heard := self.request.recv(65_536):
            self.server.calls += sum(heard.count(write) for write in WRITES)
            if self.server.deaf or self.server.calls:
                return
            self.request.sendall(b"+OK\r\n" * len(COMMAND.findall(heard)))


@contextmanager
def breaking_server(*, deaf: bool) -> Iterator[BreakingServer]:
    with BreakingServer(deaf=deaf) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def commit(url: str) -> None:
    ValkeyBackend(url).commit(plan_of(("SET", "a string", "text")))


def append(url: str) -> None:
    ValkeyBackend(url).append([(STREAM, "a message")])


def take(url: str) -> None:
    ValkeyBackend(url).take({STREAM: "0-0"}, 10, 0)


def append_from_a_front_end(url: str) -> None:
    async def scenario() -> None:
        log = AsyncCommandLog(url, lambda seen: seen)
        try:
            await log.append([(STREAM, "a message")])
        finally:
            await log.close()

    asyncio.run(scenario())


CALLS = [commit, append, take, append_from_a_front_end]


@pytest.mark.parametrize("call", CALLS)
def test_a_call_whose_reply_is_lost_is_not_sent_again(call: Callable[[str], None]) -> None:
    """It may have been applied: whoever made it finds out from the queue, not by a second try."""
    with breaking_server(deaf=False) as server:
        with pytest.raises(StoreUnavailable):
            call(server.url)
        assert (server.connections, server.calls) == (1, 1)


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_hangs_up_is_not_called_again(call: Callable[[str], None]) -> None:
    """How long to stay away, and whom to tell, is for us to say and not for a client library."""
    with breaking_server(deaf=True) as server:
        with pytest.raises((StoreUnavailable, Unavailable)):
            call(server.url)
        assert (server.connections, server.calls) == (1, 0)


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_does_not_answer_is_looked_for_once(
    call: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is told after one time limit, not after ten."""
    tries: list[object] = []

    def time_out(_: socket.socket, address: object) -> None:
        tries.append(address)
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", time_out)
    with pytest.raises((StoreUnavailable, Unavailable)):
        call("redis://127.0.0.1:1")
    assert tries == [("127.0.0.1", 1)]


def echoes(url: str) -> list[object]:
    """What a worker's connection answers to one word after the other; None where it gives no answer."""
    backend, answers = ValkeyBackend(url), []
    for word in WORDS:
        try:
            answers.append(backend.call("ECHO", word))
        except StoreUnavailable:
            answers.append(None)
    backend.close()
    return answers


def echoes_to_a_front_end(url: str) -> list[object]:
    """The same for the connection of a front end."""

    async def scenario() -> list[object]:
        connection, answers = AsyncConnection(url), []
        for word in WORDS:
            try:
                answers.append(await connection.call("ECHO", word))
            except StoreUnavailable:
                answers.append(None)
        await connection.close()
        return answers

    return asyncio.run(scenario())


@pytest.mark.parametrize("ask", [echoes, echoes_to_a_front_end])
def test_a_doubled_reply_is_never_the_answer_to_something_else(
    ask: Callable[[str], list[object]], real_store: RealStore
) -> None:
    """Given a line on which some replies come twice. Expect the connection to be given up after each."""
    fates = cycle([Fate.DOUBLED, None])
    with proxy(real_store.url, lambda name: next(fates) if name == "ECHO" else None) as line:
        assert ask(line.url) == [WORDS[0], None, WORDS[2], WORDS[3], None, WORDS[5]]
