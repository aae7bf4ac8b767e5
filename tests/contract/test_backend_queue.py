"""Backend.append and take: streams in order, read without taking anything away."""

import threading
import time
from collections.abc import Callable

import pytest

from app.services.faults import StoreRefused, StoreUnavailable
from app.services.queue import Entry, Lane, Stream
from app.storage import keys
from app.storage.backend import Backend
from tests.support.grounds import Ground, plan_of, write
from tests.support.waiting import eventually

FAST: Stream = (0, Lane.INTERACTIVE)
SLOW: Stream = (0, Lane.BULK)
OTHER: Stream = (1, Lane.INTERACTIVE)
START = "0-0"


def texts(entries: list[Entry]) -> list[str]:
    return [entry.payload.decode() for entry in entries]


def test_what_is_appended_is_taken_in_that_order(ground: Ground) -> None:
    """Under the ids that the append answered."""
    backend = ground.backend()
    messages = [f"message {number} ä" for number in range(5)]
    ids = backend.append([(FAST, text) for text in messages])
    expected = [Entry(entry_id, text.encode()) for entry_id, text in zip(ids, messages, strict=True)]
    assert backend.take({FAST: START}, 10, 0) == {FAST: expected}


def test_ids_are_the_servers_time_and_grow(ground: Ground) -> None:
    """The arrival of a message is read from its id, and a place behind it sorts behind it."""
    backend = ground.backend()
    before, _ = backend.read(plan_of())
    ids = backend.append([(FAST, "one"), (FAST, "two")])
    ids += backend.append([(FAST, "three")])
    places = [tuple(map(int, entry_id.split("-"))) for entry_id in ids]
    assert places == sorted(set(places))
    assert before <= places[0][0] <= before + 10_000


def test_one_append_may_go_to_many_streams(ground: Ground) -> None:
    """Partitions and lanes are queues of their own."""
    backend = ground.backend()
    ids = backend.append([(FAST, "a"), (OTHER, "b"), (SLOW, "c"), (FAST, "d")])
    assert len(ids) == 4
    found = backend.take(dict.fromkeys((FAST, SLOW, OTHER, (2, Lane.BULK)), START), 10, 0)
    assert {stream: texts(entries) for stream, entries in found.items()} == {
        FAST: ["a", "d"],
        SLOW: ["c"],
        OTHER: ["b"],
    }, "a stream with nothing behind its cursor is left out"


def test_taking_removes_nothing(ground: Ground) -> None:
    """Whoever reads, and however often: a stale reader harms nobody."""
    one, other = ground.backend(), ground.backend()
    one.append([(FAST, "a"), (FAST, "b")])
    before = ground.dump()
    first = one.take({FAST: START}, 10, 0)
    assert other.take({FAST: START}, 10, 0) == one.take({FAST: START}, 10, 0) == first
    assert ground.dump() == before


def test_a_cursor_is_behind_what_was_seen(ground: Ground) -> None:
    """Each stream has its own; at most `count` entries come of each."""
    backend = ground.backend()
    backend.append([(FAST, str(number)) for number in range(5)])
    backend.append([(OTHER, str(number)) for number in range(2)])
    cursors = {FAST: START, OTHER: START}
    seen: dict[Stream, list[str]] = {FAST: [], OTHER: []}
    while found := backend.take(cursors, 2, 0):
        for stream, entries in found.items():
            assert len(entries) <= 2
            cursors[stream] = entries[-1].entry_id
            seen[stream] += texts(entries)
    assert seen == {FAST: ["0", "1", "2", "3", "4"], OTHER: ["0", "1"]}


def test_a_commit_removes_what_it_names(ground: Ground) -> None:
    """Whoever reads from the beginning finds the rest, in order; a removed cursor is still a place."""
    backend = ground.backend()
    ids = backend.append([(FAST, text) for text in "abcd"])
    write(backend, ("XDEL", keys.queue(*FAST), ids[1], ids[3], "1-1"))
    assert texts(backend.take({FAST: START}, 10, 0)[FAST]) == ["a", "c"]
    assert texts(backend.take({FAST: ids[1]}, 10, 0)[FAST]) == ["c"]


def test_a_commit_that_fails_removes_nothing(ground: Ground) -> None:
    """Not answered, not removed."""
    backend = ground.backend()
    ids = backend.append([(FAST, "a")])
    plan = plan_of(("XDEL", keys.queue(*FAST), *ids))
    plan.expect(keys.partition(0), "epoch", "1")
    assert backend.commit(plan) == [1]
    assert texts(backend.take({FAST: START}, 10, 0)[FAST]) == ["a"]


def test_an_empty_queue_is_waited_for_no_longer_than_asked(ground: Ground) -> None:
    backend = ground.backend()
    began = time.monotonic()
    assert backend.take({FAST: START}, 10, 0) == {}
    at_once = time.monotonic() - began
    assert backend.take({FAST: START, OTHER: START}, 10, 60) == {}
    assert 0.06 <= time.monotonic() - began < 2.0
    assert at_once < 0.5


def test_no_queues_are_not_waited_for(ground: Ground) -> None:
    """A worker without partitions has nothing to read."""
    began = time.monotonic()
    assert ground.backend().take({}, 10, 3_000) == {}
    assert time.monotonic() - began < 1.0


def test_who_waits_is_woken_by_the_first_message(ground: Ground) -> None:
    """
    Given a reader that waits for two queues
    If something else is committed, and then a message is appended to one of them
    Expect that message, long before the reader's time is over.
    """
    found: dict[Stream, list[Entry]] = {}
    waiting = ground.backend()
    reader = threading.Thread(
        target=lambda: found.update(waiting.take({FAST: START, OTHER: START}, 10, 4_000))
    )
    reader.start()
    eventually(ground.someone_waits)
    backend = ground.backend()
    write(backend, ("SET", "something else", "text"))
    assert reader.is_alive()
    began = time.monotonic()
    backend.append([(OTHER, "a")])
    reader.join(timeout=3)
    assert time.monotonic() - began < 1.0
    assert {stream: texts(entries) for stream, entries in found.items()} == {OTHER: ["a"]}


def test_a_queue_of_another_type_is_refused(ground: Ground) -> None:
    """Whoever wrote there by hand must be told, for reading and for writing."""
    backend = ground.backend()
    write(backend, ("SET", keys.queue(*FAST), "text"))
    with pytest.raises(StoreRefused):
        backend.take({OTHER: START, FAST: START}, 10, 0)
    with pytest.raises(StoreRefused):
        backend.append([(FAST, "a")])
    assert backend.take({OTHER: START}, 10, 0) == {}


CALLS: dict[str, Callable[[Backend], object]] = {
    "read": lambda backend: backend.read(plan_of(reads=[("GET", "a string")])),
    "commit": lambda backend: backend.commit(plan_of(("SET", "a string", "text"))),
    "acquire": lambda backend: backend.acquire("anna", [0], 1_000, 1),
    "renew": lambda backend: backend.renew("anna", {0: 1}, 1_000),
    "release": lambda backend: backend.release("anna", {0: 1}, leave=True),
    "mark": lambda backend: backend.mark(0, 1, "bulk", "place"),
    "append": lambda backend: backend.append([(FAST, "a")]),
    "take": lambda backend: backend.take({FAST: START}, 10, 0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_server_that_is_away_is_told_as_such(ground: Ground, call: Callable[[Backend], object]) -> None:
    """One fault for all calls; closing works all the same."""
    backend = ground.unreachable()
    with pytest.raises(StoreUnavailable):
        call(backend)
    backend.close()
