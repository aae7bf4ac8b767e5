"""The few commands of the server that the function library uses, over plain Python values.

hash: dict of bytes; list: list of bytes; string: bytes; set: set of str; zset: dict of int;
stream: StreamValue.
"""

import bisect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.services.faults import StoreRefused
from app.services.queue import Entry
from app.storage.backend import Reply

if TYPE_CHECKING:
    from app.storage.backends.memory import MemoryServer

Args = list[Any]

MOST_ARGUMENTS = 4_096
"""Of one write, as in functions/balance.lua."""

_COUNTER = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
_ENTRY_ID = re.compile(r"[0-9]+-[0-9]+", re.ASCII)
_EXPIRY = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)


class zset(dict[str, int]):  # noqa: N801 - named as the server names its type
    """A sorted set: members by score."""


class StreamValue:
    """A stream: entries by id, in order, with all their fields; and the last id ever given."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], Entry] = {}
        self.fields: dict[tuple[int, int], list[bytes]] = {}
        self.order: list[tuple[int, int]] = []
        self.last = (0, 0)


_TYPES: dict[str, type[Any]] = {
    "hash": dict,
    "list": list,
    "string": bytes,
    "set": set,
    "zset": zset,
    "stream": StreamValue,
}


def type_of(value: Any) -> str:
    """The server's name for the type of a value, `none` for None."""
    return next((name for name, python in _TYPES.items() if type(value) is python), "none")


def bytes_of(value: str | int | bytes) -> bytes:
    """A value as the server keeps it."""
    return value if isinstance(value, bytes) else str(value).encode()


def entry_key(entry_id: str) -> tuple[int, int]:
    """A stream id as it sorts."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def value_at(server: "MemoryServer", key: str, wanted: str) -> Any:
    """The value at a key, an empty one when there is none; raises StoreRefused when it is of another type."""
    value = server.value(key)
    if value is None:
        return _TYPES[wanted]()
    if type_of(value) != wanted:
        raise StoreRefused(f"WRONGTYPE of {key} is {type_of(value)}")
    return value


def read_value(server: "MemoryServer", command: str, key: str, args: Args) -> Reply:
    """Carry out one read; raises StoreRefused on a key of another type."""
    if command not in _READS:
        raise StoreRefused(f"{command} is not a read")
    if server.value(key) is None and command == "GET":
        return None
    wanted, read = _READS[command]
    return read(value_at(server, key, wanted), args)


def fault_of(server: "MemoryServer", command: str, key: str, args: Args, types: dict[str, str]) -> str:
    """Why this write could fail, or "". `types` remembers the type of each key within one commit."""
    if command not in _WRITES:
        return f"write {command}"
    if len(args) > MOST_ARGUMENTS:
        return f"arguments for {key}: {len(args)}"
    wanted = _WRITES[command][0]
    if wanted != "any":
        found = types.get(key) or type_of(server.value(key))
        if found not in ("none", wanted):
            return f"type of {key} is {found}"
        types[key] = wanted
    if command in ("HINCRBY", "HCOUNT"):
        counter = (server.value(key) or {}).get(args[0], b"0").decode(errors="replace")
        if not (_COUNTER.fullmatch(counter) and _COUNTER.fullmatch(str(args[1]))):
            return f"counter {key} {args[0]}"
    elif command == "SET" and len(args) > 1 and not (args[1] == "PX" and _EXPIRY.fullmatch(str(args[2]))):
        return f"expiry of {key}"
    elif command == "XTRIM" and not (args[0] == "MINID" and _ENTRY_ID.fullmatch(str(args[1]))):
        return f"trim of {key}"
    return ""


def apply(server: "MemoryServer", command: str, key: str, args: Args) -> Any:
    """Carry out one write; a container that becomes empty is gone, as on the server."""
    wanted, write = _WRITES[command]
    if wanted == "any":
        return write(server, key, args)
    value = server.data[key] = value_at(server, key, wanted)
    result = write(server, key, args)
    if wanted not in ("string", "stream") and not value:
        del server.data[key]
        server.expires.pop(key, None)
    return result


def _hset(server: "MemoryServer", key: str, args: Args) -> None:
    server.data[key].update(zip(map(str, args[::2]), map(bytes_of, args[1::2]), strict=True))


def _hdel(server: "MemoryServer", key: str, args: Args) -> None:
    for field in args:
        server.data[key].pop(field, None)


def _hincrby(server: "MemoryServer", key: str, args: Args) -> int:
    fields = server.data[key]
    count = int(fields.get(args[0], 0)) + int(args[1])
    fields[args[0]] = bytes_of(count)
    return count


def _hcount(server: "MemoryServer", key: str, args: Args) -> None:
    if _hincrby(server, key, args) == 0:
        del server.data[key][args[0]]


def _set(server: "MemoryServer", key: str, args: Args) -> None:
    server.data[key] = bytes_of(args[0])
    server.expires.pop(key, None)
    if len(args) > 1:
        server.expires[key] = server.now + int(args[2])


def _rpush(server: "MemoryServer", key: str, args: Args) -> None:
    server.data[key].extend(map(bytes_of, args))


def _sadd(server: "MemoryServer", key: str, args: Args) -> None:
    server.data[key].update(map(str, args))


def _srem(server: "MemoryServer", key: str, args: Args) -> None:
    server.data[key].difference_update(map(str, args))


def _zadd(server: "MemoryServer", key: str, args: Args) -> None:
    server.data[key][args[1]] = int(args[0])


def _zrem(server: "MemoryServer", key: str, args: Args) -> None:
    for member in args:
        server.data[key].pop(member, None)


def _xadd(server: "MemoryServer", key: str, args: Args) -> str:
    stream = server.data[key]
    stream.last = max((server.now, 0), (stream.last[0], stream.last[1] + 1))
    entry_id = f"{stream.last[0]}-{stream.last[1]}"
    fields = [bytes_of(part) for part in args[args.index("*") + 1 :]]
    stream.entries[stream.last] = Entry(entry_id, fields[1])
    stream.fields[stream.last] = fields
    stream.order.append(stream.last)
    return entry_id


def _xdel(server: "MemoryServer", key: str, args: Args) -> None:
    stream = server.data[key]
    for entry_id in map(entry_key, args):
        if stream.entries.pop(entry_id, None):
            del stream.fields[entry_id]
            stream.order.remove(entry_id)
    if stream.last == (0, 0):  # there was no stream
        del server.data[key]


def _xtrim(server: "MemoryServer", key: str, args: Args) -> None:
    stream, first = server.data[key], entry_key(args[1])
    _xdel(server, key, [f"{one}-{other}" for one, other in stream.order if (one, other) < first])


def _expire(server: "MemoryServer", key: str, args: Args) -> None:
    if server.value(key) is not None:
        server.expires[key] = server.now + int(args[0]) * 1000


def _slice(values: list[bytes], first: int, last: int) -> list[bytes]:
    length = len(values)
    begin, end = (max(index + length, 0) if index < 0 else index for index in (first, last))
    return values[begin : end + 1] if last >= -length else []


def _at(values: list[bytes], index: int) -> bytes | None:
    return values[index] if -len(values) <= index < len(values) else None


def _pairs(value: dict[str, bytes]) -> list[bytes]:
    return [part for name, text in value.items() for part in (name.encode(), text)]


def _members(value: zset) -> list[bytes]:
    return [member.encode() for member in sorted(value, key=lambda member: (value[member], member))]


def _by_score(value: zset, args: Args) -> list[bytes]:
    low, high, _, offset, count = args
    within = [each for each in _members(value) if float(low) <= value[each.decode()] <= float(high)]
    return within[offset : offset + count]


def _events(value: StreamValue, args: Args) -> list[list[Any]]:
    """Entries from an id to the last one, by `(ID + COUNT n`, `ID + COUNT n`, or `- + COUNT n`."""
    first, count = str(args[0]), args[3]
    if first == "-":
        start = 0
    elif first.startswith("("):
        start = bisect.bisect_right(value.order, entry_key(first[1:]))
    else:
        start = bisect.bisect_left(value.order, entry_key(first))
    return [
        [value.entries[each].entry_id.encode(), value.fields[each]]
        for each in value.order[start : start + count]
    ]


def _last_events(value: StreamValue, args: Args) -> list[list[Any]]:
    """The last entries, by `+ - COUNT n`."""
    last = value.order[-args[3] :][::-1]
    return [[value.entries[each].entry_id.encode(), value.fields[each]] for each in last]


_WRITES: dict[str, tuple[str, Callable[["MemoryServer", str, Args], Any]]] = {
    "HSET": ("hash", _hset),
    "HDEL": ("hash", _hdel),
    "HINCRBY": ("hash", _hincrby),
    "HCOUNT": ("hash", _hcount),
    "SET": ("string", _set),
    "RPUSH": ("list", _rpush),
    "SADD": ("set", _sadd),
    "SREM": ("set", _srem),
    "ZADD": ("zset", _zadd),
    "ZREM": ("zset", _zrem),
    "XADD": ("stream", _xadd),
    "XDEL": ("stream", _xdel),
    "XTRIM": ("stream", _xtrim),
    "EXPIRE": ("any", _expire),
}
_READS: dict[str, tuple[str, Callable[[Any, Args], Reply]]] = {
    "HGET": ("hash", lambda value, args: value.get(args[0])),
    "HMGET": ("hash", lambda value, args: [value.get(field) for field in args]),
    "HGETALL": (
        "hash",
        lambda value, _: [part for name, text in value.items() for part in (name.encode(), text)],
    ),
    "GET": ("string", lambda value, _: value),
    "LINDEX": ("list", lambda value, args: _at(value, args[0])),
    "LRANGE": ("list", lambda value, args: _slice(value, args[0], args[1])),
    "LLEN": ("list", lambda value, _: len(value)),
    "SMEMBERS": ("set", lambda value, _: [member.encode() for member in value]),
    "ZRANGE": ("zset", lambda value, args: _slice(_members(value), args[0], args[1])),
    "ZRANGEBYSCORE": ("zset", _by_score),
    "ZSCORE": ("zset", lambda value, args: None if args[0] not in value else bytes_of(value[args[0]])),
    "SCARD": ("set", lambda value, _: len(value)),
    "HLEN": ("hash", lambda value, _: len(value)),
    "HVALS": ("hash", lambda value, _: [*value.values()]),
    "XRANGE": ("stream", _events),
    "XREVRANGE": ("stream", _last_events),
    "XLEN": ("stream", lambda value, _: len(value.order)),
}
