"""Retention: the event feed is trimmed beyond a length, as far as every registered reader has read.

Nothing else is ever deleted by anybody; what has a life of its own (refusals, ended reservations and pots,
answers on their way) expires in the server. A reader that has not been there for too long is dropped, with an
alarm: it would keep the feed for ever.
"""

import logging
from typing import NamedTuple

from app.storage import keys
from app.storage.audits.state import AuditedStore, order_of
from app.storage.plan import Plan

MOST_AT_ONCE = 10_000
"""Events trimmed from one feed in one commit: about 2 ms of the server."""
_log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """How many events of a partition are kept at least, and for how long a reader may be away (ms)."""

    length: int
    reader_ms: int


class Reader(NamedTuple):
    """A registered reader of one feed: the last event it has read, and when it was there (ms)."""

    name: str
    cursor: str
    seen_at: int
    raw: str


class Retention:
    """One task: all feeds, each at most once."""

    def __init__(self, store: AuditedStore, partitions: int, kept: Kept) -> None:
        self._store = store
        self._partitions = partitions
        self._kept = kept

    def run(self) -> None:
        """Trim what is beyond the length and read by everybody."""
        plan = Plan()
        for partition in range(self._partitions):
            plan.read("XLEN", keys.events(partition))
        now, lengths = self._store.read(plan)
        for partition, length in enumerate(lengths):
            if length > self._kept.length:
                self._trim(partition, length - self._kept.length, now)

    def _trim(self, partition: int, surplus: int, now: int) -> None:
        plan = Plan()
        count = min(surplus, MOST_AT_ONCE)
        plan.read("HGETALL", keys.readers(partition))
        plan.read("XRANGE", keys.events(partition), "-", "+", "COUNT", count + 1)
        pairs, events = self._store.read(plan)[1]
        readers = [*map(_reader, pairs[::2], pairs[1::2])]
        gone = [each for each in readers if each.seen_at < now - self._kept.reader_ms]
        there = [each for each in readers if each not in gone]
        first_kept = min([events[-1][0].decode(), *(each.cursor for each in there)], key=order_of)
        if order_of(first_kept) <= order_of(events[0][0].decode()):
            return
        plan = Plan()
        for reader in readers:
            plan.expect(keys.readers(partition), reader.name, reader.raw)
        for reader in gone:
            plan.write("HDEL", keys.readers(partition), reader.name)
        plan.write("XTRIM", keys.events(partition), "MINID", first_kept)
        plan.write("HINCRBY", keys.META, "commits", 1)
        if self._store.commit(plan):
            return  # a reader has read on: there is a next time
        for reader in gone:
            _log.error(
                "ALARM reader %s of feed %03d is dropped: it was away for too long", reader.name, partition
            )


def register(store: AuditedStore, partition: int, name: str, cursor: str) -> None:
    """Tell how far a reader has read: the feed is kept from that event on."""
    plan = Plan()
    now = store.read(plan)[0]
    plan.write("HSET", keys.readers(partition), name, f"{cursor} {now}")
    plan.write("HINCRBY", keys.META, "commits", 1)
    store.commit(plan)


def _reader(name: bytes, value: bytes) -> Reader:
    cursor, _, seen_at = value.decode().partition(" ")
    return Reader(name.decode(), cursor, int(seen_at or 0), value.decode())
