"""Backend.read: every type, what is not there, and always one moment."""

import threading
from typing import Any

import pytest

from app.services.faults import StoreRefused
from tests.support.grounds import Ground, Write, plan_of, read, write
from tests.support.waiting import eventually

ONE_OF_EACH: list[Write] = [
    ("HSET", "a hash", "chips", "100", "name", "anna"),
    ("RPUSH", "a list", "first", "second", "third"),
    ("SET", "a string", "text"),
    ("SADD", "a set", "one", "other"),
    ("ZADD", "a zset", 20, "late"),
    ("ZADD", "a zset", 10, "early"),
    ("XADD", "a stream", "*", "m", "message"),
]


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        (("HGET", "a hash", "chips"), b"100"),
        (("HGET", "a hash", "nothing"), None),
        (("HMGET", "a hash", "name", "nothing", "chips"), [b"anna", None, b"100"]),
        (("HGETALL", "a hash"), [b"chips", b"100", b"name", b"anna"]),
        (("LINDEX", "a list", -1), b"third"),
        (("LINDEX", "a list", 3), None),
        (("LRANGE", "a list", 0, 1), [b"first", b"second"]),
        (("LRANGE", "a list", -2, -1), [b"second", b"third"]),
        (("LRANGE", "a list", 0, -1), [b"first", b"second", b"third"]),
        (("LRANGE", "a list", 0, -4), []),
        (("LRANGE", "a list", 3, 9), []),
        (("LLEN", "a list"), 3),
        (("GET", "a string"), b"text"),
        (("ZRANGE", "a zset", 0, -1), [b"early", b"late"]),
        (("ZRANGE", "a zset", 0, 0), [b"early"]),
        (("ZRANGE", "a zset", 0, -1, "WITHSCORES"), [b"early", b"10", b"late", b"20"]),
        (("XLEN", "a stream"), 1),
        (("HLEN", "a hash"), 2),
    ],
)
def test_a_read_of_what_is_there(ground: Ground, asked: Write, reply: Any) -> None:
    """Values are bytes, lengths are whole numbers, and what is not in a container is None."""
    backend = ground.backend()
    write(backend, *ONE_OF_EACH)
    assert read(backend, asked) == [reply]


def test_the_members_of_a_set_come_in_any_order(ground: Ground) -> None:
    backend = ground.backend()
    write(backend, *ONE_OF_EACH)
    (members,) = read(backend, ("SMEMBERS", "a set"))
    assert sorted(members) == [b"one", b"other"]


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        (("HGET", "nothing", "f"), None),
        (("HMGET", "nothing", "f", "g"), [None, None]),
        (("HGETALL", "nothing"), []),
        (("LINDEX", "nothing", 0), None),
        (("LRANGE", "nothing", 0, -1), []),
        (("LLEN", "nothing"), 0),
        (("GET", "nothing"), None),
        (("SMEMBERS", "nothing"), []),
        (("ZRANGE", "nothing", 0, -1), []),
        (("XLEN", "nothing"), 0),
    ],
)
def test_a_read_of_what_is_not_there(ground: Ground, asked: Write, reply: Any) -> None:
    """Nothing is None, no text, or empty; reading makes no key."""
    assert read(ground.backend(), asked) == [reply]
    assert ground.dump() == {}


def test_replies_come_in_the_order_of_the_plan(ground: Ground) -> None:
    """Also where one key is read twice."""
    backend = ground.backend()
    write(backend, *ONE_OF_EACH)
    asked: list[Write] = [("GET", "a string"), ("LLEN", "a list"), ("GET", "nothing"), ("GET", "a string")]
    assert read(backend, *asked) == [b"text", 3, None, b"text"]


@pytest.mark.parametrize(
    "asked",
    [
        ("HGET", "a zset", "early"),
        ("HGETALL", "a list"),
        ("GET", "a hash"),
        ("LINDEX", "a hash", 0),
        ("LRANGE", "a string", 0, -1),
        ("LLEN", "a set"),
        ("SMEMBERS", "a zset"),
        ("ZRANGE", "a hash", 0, -1),
        ("XLEN", "a string"),
    ],
)
def test_a_key_of_another_type_is_refused(ground: Ground, asked: Write) -> None:
    """A wrong type is a fault to be told, never an empty answer; the connection goes on."""
    backend = ground.backend()
    write(backend, *ONE_OF_EACH)
    with pytest.raises(StoreRefused):
        read(backend, ("GET", "a string"), asked)
    assert read(backend, ("GET", "a string")) == [b"text"]


def test_a_read_cannot_write(ground: Ground) -> None:
    """The read function is declared free of writes, so a mistake in a plan cannot change anything."""
    with pytest.raises(StoreRefused):
        read(ground.backend(), ("SET", "a string", "text"))
    assert ground.dump() == {}


def test_the_time_is_the_servers(ground: Ground) -> None:
    """It is in ms, the same for all connections, and passes."""
    one, other = ground.backend(), ground.backend()
    before, _ = one.read(plan_of())
    ground.pass_time(20)
    after, _ = other.read(plan_of())
    assert after - before >= 20
    assert 1_600_000_000_000 < before < 10_000_000_000_000


def test_what_is_past_its_time_is_not_there(ground: Ground) -> None:
    """Expiry needs nobody to sweep."""
    backend = ground.backend()
    write(backend, ("SET", "short", "text", "PX", 60_000), ("SET", "long", "text", "PX", 60_000))
    assert read(backend, ("GET", "short"), ("GET", "long")) == [b"text", b"text"]
    write(backend, ("SET", "short", "text", "PX", 1))
    ground.pass_time(20)
    assert read(backend, ("GET", "short"), ("GET", "long")) == [None, b"text"]


def test_all_replies_are_of_one_moment(ground: Ground) -> None:
    """
    Given a writer that always moves two keys together
    Expect that no reader ever sees one of them moved without the other.
    """
    stop = threading.Event()

    def move() -> None:
        backend, count = ground.backend(), 0
        while not stop.is_set():
            count += 1
            write(backend, ("SET", "left", str(count)), ("SET", "right", str(count)))

    seen: set[tuple[bytes, bytes]] = set()
    backend = ground.backend()

    def look() -> bool:
        seen.add(tuple(read(backend, ("GET", "left"), ("GET", "right"))))
        return len(seen) >= 20

    writer = threading.Thread(target=move)
    writer.start()
    try:
        eventually(look, within_seconds=20)
    finally:
        stop.set()
        writer.join()
    assert all(left == right for left, right in seen)


def test_the_oldest_entry_of_a_stream_is_read_with_its_id(ground: Ground) -> None:
    """And none of a stream that is empty, or was never there."""
    backend = ground.backend()
    write(backend, *ONE_OF_EACH, ("XADD", "a stream", "*", "m", "later"))
    asked = ("XRANGE", "a stream", "-", "+", "COUNT", 1)
    ((found,), nothing) = read(backend, asked, ("XRANGE", "nowhere", "-", "+", "COUNT", 1))
    entry_id, fields = found
    assert (fields, nothing) == ([b"m", b"message"], [])
    assert entry_id.decode() == ground.dump()["a stream"].value[0][0]
