"""Random programs of a Backend: steps that read, commit and call, of which some are wrong on purpose.

A step holds no id of an entry, only its number: each server gives its own ids.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from hypothesis import strategies as st

from app.services.faults import BalanceFault
from app.services.queue import Lane, Stream
from app.services.schedule import Slot, Task
from app.storage import keys
from app.storage.backend import Backend
from app.storage.plan import Plan

HOUR_MS = 3_600_000
MAX_WRITES = 8  # so many counts of 18 digits stay within 64 bits

Words = tuple[Any, ...]
"""A check, read or write: command, key, arguments."""


@dataclass(frozen=True)
class EntryNumber:
    """The id of the n-th message that was appended to a queue, whatever it is on each server."""

    stream: Stream
    number: int


@dataclass(frozen=True)
class ExclusiveFrom:
    """What lies behind that entry, as a range begins."""

    entry: EntryNumber


@dataclass
class Run:
    """A program's run on one server."""

    backend: Backend
    ids: dict[Stream, list[str]] = field(default_factory=dict)

    def entry_id(self, stream: Stream, number: int) -> str:
        """The entry's id here; of an entry that is nowhere when there is none."""
        ids = self.ids.get(stream)
        return ids[number % len(ids)] if ids else "0-1"

    def known(self, arg: Any) -> Any:
        """An argument, with the id that an entry has here."""
        if isinstance(arg, ExclusiveFrom):
            return f"({self.known(arg.entry)}"
        return self.entry_id(arg.stream, arg.number) if isinstance(arg, EntryNumber) else arg

    def do(self, step: "Step") -> Any:
        """Return what the step answers, or the name of the fault it meets."""
        try:
            return step.on(self)
        except BalanceFault as fault:
            return type(fault).__name__


class Step(Protocol):
    """One step of a program."""

    def on(self, run: Run) -> Any:
        """Do it; what can be compared between servers."""
        ...


@dataclass(frozen=True)
class Commit:
    """A plan of checks and writes."""

    checks: list[Words]
    writes: list[Words]

    def on(self, run: Run) -> Any:
        plan = Plan()
        expect: dict[str, Callable[..., int]] = {
            "field": plan.expect,
            "count": plan.expect_count,
            "absent": plan.expect_absent,
        }
        for kind, *args in self.checks:
            expect[kind](*args)
        fields_set = {(key, args[0]) for command, key, *args in self.writes if command == "HSET"}
        for command, key, *args in self.writes:
            if command in ("HINCRBY", "HCOUNT") and (key, args[0]) in fields_set:
                continue  # the one thing that no plan of ours does: set a field, and count it
            plan.write(command, key, *map(run.known, args))
        plan.write("HINCRBY", keys.META, "commits", 1)
        return run.backend.commit(plan), run.backend.commits


@dataclass(frozen=True)
class Read:
    """A plan of reads."""

    reads: list[Words]

    def on(self, run: Run) -> Any:
        plan = Plan()
        for command, key, *args in self.reads:
            plan.read(command, key, *map(run.known, args))
        replies = run.backend.read(plan)[1]
        return [_comparable(words[0], reply) for words, reply in zip(self.reads, replies, strict=True)]


def _comparable(command: str, reply: Any) -> Any:
    """A reply without what each server makes up for itself: an order, or ids."""
    if command in {"HGETALL", "HVALS", "SMEMBERS"}:
        return sorted(reply)
    return [fields for _, fields in reply] if command in {"XRANGE", "XREVRANGE"} else reply


@dataclass(frozen=True)
class Append:
    """Messages to queues."""

    messages: list[tuple[Stream, str]]

    def on(self, run: Run) -> Any:
        ids = run.backend.append(self.messages)
        for (stream, _), entry_id in zip(self.messages, ids, strict=True):
            run.ids.setdefault(stream, []).append(entry_id)


@dataclass(frozen=True)
class Take:
    """A look at queues, each behind one of its entries."""

    cursors: dict[Stream, int]
    count: int

    def on(self, run: Run) -> Any:
        cursors = {stream: run.entry_id(stream, number) for stream, number in self.cursors.items()}
        found = run.backend.take(cursors, self.count, 0)
        return {stream: [entry.payload for entry in entries] for stream, entries in found.items()}


@dataclass(frozen=True)
class Acquire:
    """An attempt to take partitions, for longer than any program runs."""

    worker: str
    partitions: list[int]
    most: int

    def on(self, run: Run) -> Any:
        return run.backend.acquire(self.worker, self.partitions, HOUR_MS, self.most)[1]


@dataclass(frozen=True)
class Renew:
    """A renewal by epochs, right or wrong."""

    worker: str
    epochs: dict[int, int]

    def on(self, run: Run) -> Any:
        lost, alive = run.backend.renew(self.worker, self.epochs, HOUR_MS)
        return sorted(lost), sorted(alive)


@dataclass(frozen=True)
class Release:
    """A handing over by epochs, right or wrong."""

    worker: str
    epochs: dict[int, int]
    leave: bool

    def on(self, run: Run) -> Any:
        run.backend.release(self.worker, self.epochs, leave=self.leave)


@dataclass(frozen=True)
class Mark:
    """The mark of a command that is about to run alone."""

    partition: int
    epoch: int
    lane: Lane
    place: str

    def on(self, run: Run) -> Any:
        return run.backend.mark(self.partition, self.epoch, self.lane, self.place)


@dataclass(frozen=True)
class Lead:
    """An attempt to lead, for longer than any program runs."""

    name: str

    def on(self, run: Run) -> Any:
        return run.backend.lead(self.name, HOUR_MS)[1]


@dataclass(frozen=True)
class Resign:
    """The lead given away, by whoever has it or has it not."""

    name: str

    def on(self, run: Run) -> Any:
        run.backend.resign(self.name)


@dataclass(frozen=True)
class Dispatch:
    """Tasks of a slot under an epoch, right or wrong."""

    epoch: int
    slot: Slot
    tasks: list[Task]

    def on(self, run: Run) -> Any:
        return run.backend.dispatch(self.epoch, self.slot, self.tasks)


_KINDS = ["hash", "list", "set", "stream", "string", "zset"]
_names = st.sampled_from(["a", "b"])
_fields = st.sampled_from(["a", "b", "count"])
_numbers = st.sampled_from([0, 1, -1, 41, 10**15, 2**53 - 1])
_texts = st.sampled_from(["", "0", "1", "007", "-0", "text", "9" * 18, "9" * 19])
_values = _texts | _numbers
_indexes = st.integers(-4, 4)
_partitions = st.integers(0, 1)
_workers = st.sampled_from(["anna", "bert"])
_streams = st.tuples(_partitions, st.sampled_from(Lane))
_entries = st.builds(EntryNumber, _streams, st.integers(0, 9))
_epochs = st.dictionaries(_partitions, st.integers(0, 3))
_any_key = st.sampled_from([*_KINDS, "other"])


def _words(command: str, kind: str, *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Words]:
    """A command on a key that is mostly of the right type."""
    return st.tuples(st.just(command), st.sampled_from([kind] * 9) | _any_key, *args)


def _some(command: str, kind: str, args: st.SearchStrategy[Any]) -> st.SearchStrategy[Words]:
    """A command with one to three arguments."""
    words = st.tuples(_words(command, kind), st.lists(args, min_size=1, max_size=3))
    return words.map(lambda pair: (*pair[0], *pair[1]))


_writes = st.one_of(
    _words("HSET", "hash", _fields, _values),
    _some("HDEL", "hash", _fields),
    _words("HINCRBY", "hash", st.just("count"), _values),
    _words("HCOUNT", "hash", st.just("count"), _values),
    _some("RPUSH", "list", _values),
    _words("SET", "string", _values),
    _words(
        "SET", "string", _values, st.just("PX"), st.sampled_from([HOUR_MS, str(HOUR_MS), 0, "-1", "01", ""])
    ),
    _words("SET", "string", _values, st.just("NX")),
    _some("SADD", "set", _values),
    _words("ZADD", "zset", _numbers, _names),
    _some("SREM", "set", _values),
    _some("ZREM", "zset", _names),
    _words("XADD", "stream", st.just("*"), _names, _texts),
    _entries.map(lambda entry: ("XDEL", keys.queue(*entry.stream), entry)),
    _entries.map(lambda entry: ("XTRIM", keys.queue(*entry.stream), "MINID", entry)),
    _words("XTRIM", "stream", st.just("MINID"), st.sampled_from(["0-1", "1", "-"])),
    _words("XTRIM", "stream", st.just("MAXLEN"), st.just("0-1")),
    st.tuples(st.just("EXPIRE"), _any_key, st.just(HOUR_MS // 1_000)),
    _words("DEL", "string"),
)
_checks = st.one_of(
    _words("field", "hash", _fields, st.sampled_from(["", "", "0", "1"])),
    _words("count", "hash", _fields, st.sampled_from([0, 0, 1])),
    st.tuples(st.just("absent"), _any_key),
)


def _from_entry(entry: EntryNumber) -> st.SearchStrategy[Words]:
    """Events from an entry on, it included or not."""
    words = ("XRANGE", keys.queue(*entry.stream))
    return st.tuples(st.booleans(), st.integers(1, 3)).map(
        lambda how: (*words, ExclusiveFrom(entry) if how[0] else entry, "+", "COUNT", how[1])
    )


_reads = st.one_of(
    _words("HGET", "hash", _fields),
    _some("HMGET", "hash", _fields),
    _words("HGETALL", "hash"),
    _words("LINDEX", "list", _indexes),
    _words("LRANGE", "list", _indexes, _indexes),
    _words("LLEN", "list"),
    _words("GET", "string"),
    _words("SMEMBERS", "set"),
    _words("ZRANGE", "zset", _indexes, _indexes),
    _words("SCARD", "set"),
    _words("HLEN", "hash"),
    _words("HVALS", "hash"),
    _words("XLEN", "stream"),
    _words("XRANGE", "stream", *map(st.just, ("-", "+", "COUNT")), st.integers(1, 3)),
    _words("XREVRANGE", "stream", *map(st.just, ("+", "-", "COUNT")), st.integers(1, 3)),
    _entries.flatmap(_from_entry),
    _words(
        "ZRANGEBYSCORE", "zset", st.just("-inf"), _numbers, st.just("LIMIT"), st.just(0), st.integers(0, 3)
    ),
    _words("SET", "string", _values),
)
_slots = st.builds(Slot, st.sampled_from(["a", "b"]), st.integers(1, 3), st.integers(0, 2))
_tasks = st.builds(Task, st.none() | _streams, _names, st.sampled_from(["1", "2", "3"]), _texts)
_commits = st.builds(Commit, st.lists(_checks, max_size=2), st.lists(_writes, max_size=MAX_WRITES))
_calls = st.one_of(
    st.builds(Append, st.lists(st.tuples(_streams, _texts), max_size=3)),
    st.builds(Take, st.dictionaries(_streams, st.integers(0, 9)), st.integers(1, 3)),
    st.builds(Acquire, _workers, st.permutations([0, 1]), st.integers(0, 2)),
    st.builds(Renew, _workers, _epochs),
    st.builds(Release, _workers, _epochs, st.booleans()),
    st.builds(Lead, _workers),
    st.builds(Resign, _workers),
    st.builds(Dispatch, st.integers(0, 2), _slots, st.lists(_tasks, max_size=3)),
    st.builds(Mark, _partitions, st.integers(0, 3), st.sampled_from(Lane), _names),
)
programs: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(_commits, _commits, st.builds(Read, st.lists(_reads, min_size=1, max_size=4)), _calls),
    min_size=1,
    max_size=15,
)
