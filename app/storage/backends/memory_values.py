"""The few commands of the server that the function library uses, over plain Python values.

hash: dict of bytes; list: list of bytes; string: bytes; set: set of str; zset: zset; stream: StreamValue.
"""

from typing import TYPE_CHECKING, Any

from app.services.faults import StoreRefused
from app.services.queue import Entry
from app.storage.backend import Reply

if TYPE_CHECKING:
    from app.storage.backends.memory import MemoryServer

Args = list[Any]
TYPE_OF = {
    "HSET": "dict",
    "HDEL": "dict",
    "HINCRBY": "dict",
    "SET": "bytes",
    "RPUSH": "list",
    "SADD": "set",
    "ZADD": "zset",
    "ZREM": "zset",
    "XADD": "StreamValue",
    "XDEL": "StreamValue",
    "EXPIRE": "any",
}


class zset(dict[str, int]):  # noqa: N801 - named as the server names its type
    """A sorted set: members by score."""


class StreamValue:
    """A stream: entries by id, in order, and the last id ever given."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], Entry] = {}
        self.order: list[tuple[int, int]] = []
        self.last = (0, 0)


def bytes_of(value: str | int | bytes) -> bytes:
    """A value as the server keeps it."""
    return value if isinstance(value, bytes) else str(value).encode()


def entry_key(entry_id: str) -> tuple[int, int]:
    """A stream id as it sorts."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def apply(server: "MemoryServer", command: str, key: str, args: Args) -> Any:
    """Carry out one write. Types were looked at before."""
    result = _WRITES[command](server, key, args)
    if server.data.get(key) in ({}, set(), []):
        del server.data[key]
    return result


def read_value(server: "MemoryServer", command: str, key: str, args: Args) -> Reply:
    """Carry out one read; raises StoreRefused on a key of another type."""
    value = server.value(key)
    try:
        return _READS[command](value, args)
    except (TypeError, AttributeError) as error:
        raise StoreRefused(f"WRONGTYPE {command} {key}") from error


def _hset(server: "MemoryServer", key: str, args: Args) -> None:
    fields = server.data.setdefault(key, {})
    fields.update(zip(map(str, args[::2]), map(bytes_of, args[1::2]), strict=True))


def _hdel(server: "MemoryServer", key: str, args: Args) -> None:
    for field in args:
        server.data.get(key, {}).pop(field, None)


def _hincrby(server: "MemoryServer", key: str, args: Args) -> int:
    fields = server.data.setdefault(key, {})
    count = int(fields.get(args[0], 0)) + int(args[1])
    fields[args[0]] = bytes_of(count)
    return count


def _set(server: "MemoryServer", key: str, args: Args) -> None:
    server.data[key] = bytes_of(args[0])
    server.expires.pop(key, None)
    if len(args) > 1:
        server.expires[key] = server.now + int(args[2])


def _rpush(server: "MemoryServer", key: str, args: Args) -> None:
    server.data.setdefault(key, []).extend(map(bytes_of, args))


def _sadd(server: "MemoryServer", key: str, args: Args) -> None:
    server.data.setdefault(key, set()).update(args)


def _zadd(server: "MemoryServer", key: str, args: Args) -> None:
    server.data.setdefault(key, zset())[args[1]] = int(args[0])


def _zrem(server: "MemoryServer", key: str, args: Args) -> None:
    for member in args:
        server.data.get(key, {}).pop(member, None)


def _xadd(server: "MemoryServer", key: str, args: Args) -> str:
    stream = server.data.setdefault(key, StreamValue())
    stream.last = max((server.now, 0), (stream.last[0], stream.last[1] + 1))
    entry_id = f"{stream.last[0]}-{stream.last[1]}"
    stream.entries[stream.last] = Entry(entry_id, bytes_of(args[-1]))
    stream.order.append(stream.last)
    return entry_id


def _xdel(server: "MemoryServer", key: str, args: Args) -> None:
    stream = server.data.get(key, StreamValue())
    for entry_id in map(entry_key, args):
        if stream.entries.pop(entry_id, None):
            stream.order.remove(entry_id)


def _expire(server: "MemoryServer", key: str, args: Args) -> None:
    server.expires[key] = server.now + int(args[0]) * 1000


def _slice(values: list[bytes], first: int, last: int) -> list[bytes]:
    return values[first : last + 1 if last != -1 else None]


_WRITES = {
    "HSET": _hset,
    "HDEL": _hdel,
    "HINCRBY": _hincrby,
    "SET": _set,
    "RPUSH": _rpush,
    "SADD": _sadd,
    "ZADD": _zadd,
    "ZREM": _zrem,
    "XADD": _xadd,
    "XDEL": _xdel,
    "EXPIRE": _expire,
}
_READS: dict[str, Any] = {
    "HGET": lambda value, args: (value or {}).get(args[0]),
    "HMGET": lambda value, args: [(value or {}).get(field) for field in args],
    "HGETALL": lambda value, _: [part for k, v in (value or {}).items() for part in (k.encode(), v)],
    "GET": lambda value, _: value if value is None else memoryview(value).tobytes(),
    "LINDEX": lambda value, args: (
        (value[args[0]] if -len(value) <= args[0] < len(value) else None) if value else None
    ),
    "LRANGE": lambda value, args: _slice(value or [], args[0], args[1]),
    "LLEN": lambda value, _: len(value or []),
    "SMEMBERS": lambda value, _: [member.encode() for member in value or ()],
    "ZRANGE": lambda value, args: [
        member.encode() for member in sorted(value or {}, key=lambda m: (value[m], m))
    ],
    "XLEN": lambda value, _: len(value.order) if value else 0,
}
