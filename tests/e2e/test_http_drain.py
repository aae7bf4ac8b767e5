"""The HTTP front end is asked to stop at work: calls in hand are finished, and each gets its answer."""

import asyncio
import json
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

from tests.crash.processes import Kind, pids
from tests.support.service import RunningService, running_service
from tests.support.waiting import soon
from tests.support.web import balance_of, opened

CALLERS = 32
CALLS_BEFORE = 200


@dataclass
class Calls:
    """What became of every call that was sent whole."""

    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: list[str] = field(default_factory=list)
    refused: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note(self, status: int) -> None:
        self.statuses[status] += 1
        async with self.changed:
            self.changed.notify_all()

    async def more(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = self.statuses.total() + count
        async with self.changed:
            await self.changed.wait_for(lambda: self.statuses.total() >= wanted)


def request(service: RunningService, account_id: str) -> bytes:
    body = json.dumps({"amount": 1, "source": "s"})
    return (
        f"POST /api/accounts/{account_id}/deposit HTTP/1.1\r\nHost: balance\r\n"
        f"Authorization: Bearer {service.token}\r\nIdempotency-Key: {uuid4().hex}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def call_again_and_again(service: RunningService, account_id: str, calls: Calls) -> None:
    """A gateway: one connection for as long as the server keeps it, then another."""
    host, port = service.http.split(":")
    while not calls.stop.is_set():
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except ConnectionError:
            calls.refused += 1
            await asyncio.sleep(0.05)
            continue
        answered = 0
        try:
            while not calls.stop.is_set():
                writer.write(request(service, account_id))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                await calls.note(int(head.split()[1]))
                answered += 1
                if b"\r\nconnection: close" in head:
                    break
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            if isinstance(error, ConnectionResetError) and not answered:
                calls.refused += 1  # the kernel had connected it, the server not taken it, when it stopped
            else:
                calls.unanswered.append(repr(error))
        finally:
            writer.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def stop_under_load(service: RunningService, account_id: str) -> Calls:
    calls = Calls()
    callers = [asyncio.create_task(call_again_and_again(service, account_id, calls)) for _ in range(CALLERS)]
    await calls.more(CALLS_BEFORE)
    (master,) = pids(service, Kind.HTTP)
    os.kill(master, signal.SIGTERM)
    await soon(lambda: not is_alive(master), within_seconds=60)
    await calls.more(CALLS_BEFORE)
    calls.stop.set()
    await asyncio.gather(*callers)
    return calls


def test_no_call_is_lost_when_the_front_end_stops() -> None:
    """Given gateways at work. If SIGTERM ends the HTTP front end, and it is started again. Expect an answer
    to every call that was sent, OK, and as many chips as answers.
    """
    with running_service(PARTITIONS="4") as service:
        account_id = opened(service)
        calls = asyncio.run(stop_under_load(service, account_id))
        chips = balance_of(service, account_id)
    assert calls.unanswered == []
    assert set(calls.statuses) == {200}
    assert calls.refused > 0, "the front end was away for a while"
    assert chips == calls.statuses.total()
