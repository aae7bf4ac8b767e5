"""`python -m ops.bench.flood TARGET RATE SECONDS`: deposits at that rate, whatever comes back; prints that.

Speaks just enough HTTP/2 for it, in frames made beforehand: a gRPC client costs as much CPU a call as the
service, so that one on the same machine could never offer ten times what the service can do.
"""

import argparse
import asyncio
import json
import math
import secrets
import struct
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import cast

from app.rpc.gen import balance_pb2

ACCOUNTS = 1_000
CONNECTIONS = 8
TICK_SECONDS = 0.005
WAIT_SECONDS = 5.0
TIMEOUT_MS = 2_000  # as long as callers of the service wait

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_MAX_STREAMS = 3
_END_HEADERS = 4
_STATUS = b"\x0bgrpc-status"
_OPENING_WINDOW = 65_535


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


# No table of headers: a status is then always spelled out. Windows that never close.
_OPENING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(_SETTINGS, 0, 0, struct.pack(">HIHI", 1, 0, 4, 2**31 - 1))
    + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1 - _OPENING_WINDOW))
)


def _literal(text: bytes) -> bytes:
    return bytes([len(text)]) + text


_REQUEST_HEADERS = (
    b"\x83\x86\x01"
    + _literal(b"bench")
    + b"\x04"
    + _literal(b"/balance.BalanceService/Deposit")
    + b"".join(
        b"\x00" + _literal(name) + _literal(value)
        for name, value in (
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-timeout", b"%dm" % TIMEOUT_MS),
        )
    )
)


@dataclass
class Tally:
    """What came back: latencies (s) by gRPC status, and what was sent."""

    sent: int = 0
    latencies: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class Connection(asyncio.Protocol):
    """One HTTP/2 connection, on which calls are started and their ends noted."""

    def __init__(self, tally: Tally) -> None:
        self.calls: dict[int, float] = {}
        self._tally = tally
        self._stream = -1
        self._received = bytearray()
        self._window = _OPENING_WINDOW
        self._streams = math.inf
        self._held: deque[tuple[bytes, float]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_OPENING)

    def call(self, message: bytes, began: float) -> None:
        """Start a call; its time counts from `began`."""
        self._tally.sent += 1
        self._held.append((message, began))
        self._flush()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start = 0
        while len(received) - start >= 9:  # noqa: PLR2004  # a frame's head
            length = int.from_bytes(received[start : start + 3], "big")
            if len(received) - start < 9 + length:
                break
            kind, flags, stream = struct.unpack_from(">BBI", received, start + 3)
            self._take(kind, flags, stream, bytes(received[start + 9 : start + 9 + length]))
            start += 9 + length
        del received[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        for stream in list(self.calls):
            self._end(stream, "LOST")

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _HEADERS and flags & _END_STREAM:
            place = payload.index(_STATUS) + len(_STATUS)
            self._end(stream, payload[place + 1 : place + 1 + payload[place]].decode())
        elif kind == _RESET:
            self._end(stream, "RESET")
        elif kind == _SETTINGS and not flags & _ACK:
            settings = dict(struct.iter_unpack(">HI", payload))
            self._streams = settings.get(_MAX_STREAMS, self._streams)
            self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
            self._flush()

    def _flush(self) -> None:
        """Send what is held, as far as the server lets it come; nobody waits for the oldest any more."""
        frames, now = [], time.perf_counter()
        while self._held and now - self._held[0][1] > TIMEOUT_MS / 1000:
            self._tally.latencies["4"].append(now - self._held.popleft()[1])
        while self._held and self._window >= len(self._held[0][0]) and len(self.calls) < self._streams:
            message, began = self._held.popleft()
            self._window -= len(message)
            self._stream += 2
            self.calls[self._stream] = began
            frames += [
                _frame(_HEADERS, _END_HEADERS, self._stream, _REQUEST_HEADERS),
                _frame(_DATA, _END_STREAM, self._stream, message),
            ]
        self._transport.write(b"".join(frames))

    def _end(self, stream: int, status: str) -> None:
        began = self.calls.pop(stream, None)
        if began is not None:
            self._tally.latencies[status].append(time.perf_counter() - began)
            self._flush()


async def flood(target: str, rate: float, seconds: float) -> Tally:
    """Deposits at that rate, each under a key of its own; then wait for what is not answered yet."""
    tally, run, loop = Tally(), secrets.token_hex(4), asyncio.get_running_loop()
    host, _, port = target.rpartition(":")
    connections = [
        (await loop.create_connection(lambda: Connection(tally), host, int(port)))[1]
        for _ in range(CONNECTIONS)
    ]
    began, number = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        while number < elapsed * rate:
            message = balance_pb2.DepositRequest(
                account_id=f"bench-{number % ACCOUNTS}",
                amount=1,
                source="bench",
                idempotency_key=f"{run}-{number}",
            ).SerializeToString()
            connection = connections[number % CONNECTIONS]
            connection.call(struct.pack(">BI", 0, len(message)) + message, began + number / rate)
            number += 1
        await asyncio.sleep(TICK_SECONDS)
    for _ in range(int(WAIT_SECONDS / TICK_SECONDS)):
        if any(connection.calls for connection in connections):
            await asyncio.sleep(TICK_SECONDS)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.flood", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    tally = asyncio.run(flood(arguments.target, arguments.rate, arguments.seconds))
    json.dump({"sent": tally.sent, "latencies": tally.latencies}, sys.stdout)


if __name__ == "__main__":
    main()
