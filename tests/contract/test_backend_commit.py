"""Backend.commit: all checks looked at, then all writes or none."""

import pytest

from app.domain.amounts import MAX_CHIPS
from app.services.faults import StoreRefused
from app.storage.plan import Plan
from tests.support.grounds import Ground, Write, plan_of, read, write

FIRST: Write = ("HSET", "the first write", "done", "yes")


def test_the_writes_of_a_plan_are_applied_in_order(ground: Ground) -> None:
    """Later writes see the earlier ones."""
    backend = ground.backend()
    write(
        backend,
        ("HSET", "a hash", "one", "1", "two", 2),
        ("HDEL", "a hash", "one", "never there"),
        ("RPUSH", "a list", "a", "b"),
        ("RPUSH", "a list", "c"),
        ("SET", "a string", "old"),
        ("SET", "a string", "new"),
        ("SADD", "a set", "x", "y"),
        ("ZADD", "a zset", 5, "member"),
        ("ZADD", "a zset", 7, "member"),
    )
    kept = {key: (found.type, found.value) for key, found in ground.dump().items()}
    assert kept == {
        "a hash": ("hash", {"two": b"2"}),
        "a list": ("list", [b"a", b"b", b"c"]),
        "a string": ("string", b"new"),
        "a set": ("set", {"x", "y"}),
        "a zset": ("zset", {"member": 7}),
        "balance:meta": ("hash", {"commits": b"1"}),
    }


def test_a_commit_is_seen_by_every_connection_and_counted(ground: Ground) -> None:
    """`commits` is what the last commit of a connection counted: the age of the store it knows."""
    one, other = ground.backend(), ground.backend()
    assert one.commits == 0
    write(one, ("SET", "a string", "text"))
    write(other, ("SET", "other string", "text"))
    assert (one.commits, other.commits) == (1, 2)
    assert read(one, ("GET", "other string")) == [b"text"]


@pytest.mark.parametrize(
    ("kept", "expected", "holds"),
    [
        (None, "", True),
        (None, "0", False),
        ("0", "", False),
        ("0", "0", True),
        ("7", "7", True),
        ("7", "8", False),
        ("7", "", False),
        ("07", "7", False),
        ("", "", True),  # a field never holds the empty text: it would read as absent
    ],
)
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_field_is_compared_as_text_and_absence_as_absence(
    ground: Ground, kept: str | None, expected: str, holds: bool, elsewhere: bool
) -> None:
    """Absent is not 0, whether the whole key is missing or only the field."""
    backend = ground.backend()
    if elsewhere:
        write(backend, ("HSET", "a hash", "other field", "1"))
    if kept is not None:
        write(backend, ("HSET", "a hash", "revision", kept))
    plan = plan_of(FIRST)
    plan.expect("a hash", "revision", expected)
    assert backend.commit(plan) == ([] if holds else [1])


@pytest.mark.parametrize(
    ("kept", "expected", "holds"),
    [(None, 0, True), (None, 1, False), ("0", 0, True), ("7", 7, True), ("7", 0, False), ("-3", -3, True)],
)
def test_a_count_that_is_absent_is_zero(ground: Ground, kept: str | None, expected: int, holds: bool) -> None:
    """Chips in play are counted up from nothing, so nothing and 0 are the same."""
    backend = ground.backend()
    if kept is not None:
        write(backend, ("HSET", "a table", "a|anna", kept))
    plan = plan_of(FIRST)
    plan.expect_count("a table", "a|anna", expected)
    assert backend.commit(plan) == ([] if holds else [1])


def test_a_key_that_must_be_absent(ground: Ground) -> None:
    """Of whatever type; one that has expired is absent."""
    backend = ground.backend()
    write(backend, ("SET", "a string", "text", "PX", 60_000), ("RPUSH", "a list", "element"))
    plan = plan_of(FIRST)
    for key in ("nothing", "a string", "a list"):
        plan.expect_absent(key)
    assert backend.commit(plan) == [2, 3]
    write(backend, ("SET", "a string", "text", "PX", 1))
    ground.pass_time(20)
    assert backend.commit(plan) == [3]


def test_every_failed_check_is_told_and_nothing_is_written(ground: Ground) -> None:
    """Who redoes a unit must know all partitions and records it lost, not only the first."""
    backend = ground.backend()
    write(backend, ("HSET", "a hash", "epoch", "4"), ("SET", "a string", "text"))
    before = ground.dump()
    plan = plan_of(FIRST, ("SET", "a string", "other"), ("HDEL", "a hash", "epoch"))
    checks = [
        plan.expect("a hash", "epoch", "3"),
        plan.expect("a hash", "epoch", "4"),
        plan.expect_absent("a string"),
        plan.expect_absent("nothing"),
        plan.expect_count("a hash", "no such field", 1),
        plan.expect("nothing", "epoch", ""),
    ]
    assert checks == [1, 2, 3, 4, 5, 6]
    assert backend.commit(plan) == [1, 3, 5]
    assert ground.dump() == before
    assert backend.commits == 1, "a commit that was not applied is not counted"


def test_the_checks_look_at_what_was_there_before_the_writes(ground: Ground) -> None:
    """A plan may check and write the same field."""
    backend = ground.backend()
    for revision in ("", "1", "2"):
        plan = Plan()
        plan.expect("an account", "revision", revision)
        plan.write("HSET", "an account", "revision", int(revision or 0) + 1)
        plan.write("HINCRBY", "balance:meta", "commits", 1)
        assert backend.commit(plan) == []
    assert read(backend, ("HGET", "an account", "revision")) == [b"3"]


OF_TYPE: dict[str, Write] = {
    "hash": ("HSET", "the key", "field", "value"),
    "list": ("RPUSH", "the key", "element"),
    "string": ("SET", "the key", "text"),
    "set": ("SADD", "the key", "member"),
    "zset": ("ZADD", "the key", 1, "member"),
    "stream": ("XADD", "the key", "*", "m", "message"),
}
WRITES: list[tuple[str, Write]] = [
    *OF_TYPE.items(),
    ("hash", ("HDEL", "the key", "field")),
    ("hash", ("HINCRBY", "the key", "counter", 1)),
    ("hash", ("HCOUNT", "the key", "counter", 1)),
    ("string", ("SET", "the key", "text", "PX", 1000)),
    ("zset", ("ZREM", "the key", "member")),
    ("stream", ("XDEL", "the key", "1-1")),
]


@pytest.mark.parametrize("found", OF_TYPE)
@pytest.mark.parametrize(("wanted", "asked"), WRITES, ids=[" ".join(map(str, asked)) for _, asked in WRITES])
def test_a_write_to_a_key_of_another_type_stops_the_whole_commit(
    ground: Ground, found: str, wanted: str, asked: Write
) -> None:
    """The server has no rollback: types are looked at before the first write."""
    backend = ground.backend()
    write(backend, OF_TYPE[found])
    before = ground.dump()
    plan = plan_of(FIRST, asked)
    if found == wanted:
        assert backend.commit(plan) == []
        assert ground.dump() != before
    else:
        with pytest.raises(StoreRefused, match=r"type of the key|WRONGTYPE"):
            backend.commit(plan)
        assert ground.dump() == before


@pytest.mark.parametrize("found", ["list", "string", "set", "zset", "stream"])
@pytest.mark.parametrize("kind", ["field", "count"])
def test_a_check_of_a_key_of_another_type_stops_the_whole_commit(
    ground: Ground, found: str, kind: str
) -> None:
    backend = ground.backend()
    write(backend, OF_TYPE[found])
    before = ground.dump()
    plan = plan_of(FIRST)
    if kind == "field":
        plan.expect("the key", "field", "")
    else:
        plan.expect_count("the key", "field", 0)
    with pytest.raises(StoreRefused):
        backend.commit(plan)
    assert ground.dump() == before


def test_two_writes_that_cannot_both_be_stop_the_whole_commit(ground: Ground) -> None:
    """A plan that uses a new key as two types would fail in its middle."""
    with pytest.raises(StoreRefused):
        ground.backend().commit(plan_of(("SADD", "the key", "member"), ("RPUSH", "the key", "element")))
    assert ground.dump() == {}


@pytest.mark.parametrize(
    ("kept", "added"),
    [
        ("1234567890123456789", 1),
        ("-1234567890123456789", 1),
        ("99999999999999999999", 1),
        ("abc", 1),
        ("", 1),
        ("-", 1),
        ("1.5", 1),
        ("1e3", 1),
        (" 1", 1),
        ("1\n", 1),
        ("007", 1),
        ("-0", 1),
        ("+1", 1),
        ("\u0661", 1),  # a digit, but not of ours
        ("1", "1234567890123456789"),
        ("1", "abc"),
        ("1", "007"),
        ("1", ""),
    ],
)
@pytest.mark.parametrize("command", ["HINCRBY", "HCOUNT"])
def test_a_counter_that_the_server_would_not_count_stops_the_whole_commit(
    ground: Ground, command: str, kept: str, added: str | int
) -> None:
    """Not a number, not written as the server writes it, or with 19 digits: near the overflow."""
    backend = ground.backend()
    write(backend, ("HSET", "totals", "chips", kept))
    before = ground.dump()
    with pytest.raises(StoreRefused, match="counter totals chips"):
        backend.commit(plan_of(FIRST, (command, "totals", "chips", added)))
    assert ground.dump() == before


@pytest.mark.parametrize(
    ("kept", "added", "count"),
    [
        ("0", 0, b"0"),
        ("0", -5, b"-5"),
        ("-5", "5", b"0"),
        ("999999999999999999", "999999999999999999", b"1999999999999999998"),
        ("-999999999999999999", "-1", b"-1000000000000000000"),
        (str(MAX_CHIPS), str(MAX_CHIPS), b"18014398509481982"),
    ],
)
def test_a_counter_is_exact_to_the_last_chip(
    ground: Ground, kept: str, added: str | int, count: bytes
) -> None:
    """Also beyond 2^53, where Lua and JSON readers round; the text goes to the server untouched."""
    backend = ground.backend()
    write(backend, ("HSET", "totals", "chips", kept))
    write(backend, ("HINCRBY", "totals", "chips", added))
    assert read(backend, ("HGET", "totals", "chips")) == [count]


def test_chips_in_play_are_counted_below_zero_and_leave_nothing_at_zero(ground: Ground) -> None:
    """
    If a count comes to 0, by one write or by several of one commit, or never was anything else
    Expect its field to be gone, and with its last field the table; below 0 it is kept, to be shown.
    """
    backend = ground.backend()
    write(backend, ("HCOUNT", "a table", "a|anna", 30), ("HCOUNT", "a table", "a|bert", "5"))
    write(backend, ("HCOUNT", "a table", "a|anna", "-30"), ("HCOUNT", "a table", "a|nobody", 0))
    assert ground.dump()["a table"].value == {"a|bert": b"5"}
    write(backend, ("HCOUNT", "a table", "a|bert", -7))
    assert ground.dump()["a table"].value == {"a|bert": b"-2"}
    write(backend, ("HCOUNT", "a table", "a|bert", 1), ("HCOUNT", "a table", "a|bert", 1))
    write(backend, ("HCOUNT", "other table", "a|anna", 4), ("HCOUNT", "other table", "a|anna", -4))
    assert ground.dump().keys() == {"balance:meta"}


@pytest.mark.parametrize("expiry", [0, -1, "0", "-1", "", "abc", "1.5", "01", "1234567890123456"])
def test_a_bad_expiry_stops_the_whole_commit(ground: Ground, expiry: str | int) -> None:
    with pytest.raises(StoreRefused, match="expiry of the key"):
        ground.backend().commit(plan_of(FIRST, ("SET", "the key", "text", "PX", expiry)))
    assert ground.dump() == {}


@pytest.mark.parametrize("option", ["EX", "NX", "KEEPTTL"])
def test_an_option_that_nobody_uses_stops_the_whole_commit(ground: Ground, option: str) -> None:
    """SET ... NX may do nothing; a commit writes all it was given."""
    with pytest.raises(StoreRefused):
        ground.backend().commit(plan_of(FIRST, ("SET", "the key", "text", option, 10)))
    assert ground.dump() == {}


@pytest.mark.parametrize("command", ["DEL", "LPUSH", "FLUSHALL", "hset", ""])
def test_a_command_that_is_not_on_the_list_stops_the_whole_commit(ground: Ground, command: str) -> None:
    """Only writes whose every way to fail is known are let in."""
    with pytest.raises(StoreRefused):
        ground.backend().commit(plan_of(FIRST, (command, "the key", "a", "b")))
    assert ground.dump() == {}


def test_values_are_kept_as_they_were_given(ground: Ground) -> None:
    """Whole numbers to 2^53 - 1 keep their digits; text may have any length and any character."""
    backend = ground.backend()
    numbers = [0, -1, 1_700_000_000_000, 10**14, 10**15 + 1, MAX_CHIPS, -MAX_CHIPS]
    texts = ["", "\x00\r\n", "ä€😀", *("x" * length for length in (31, 32, 255, 256, 65_535, 65_536))]
    write(backend, ("RPUSH", "a list", *numbers, *texts))
    (found,) = read(backend, ("LRANGE", "a list", 0, -1))
    assert found == [str(number).encode() for number in numbers] + [text.encode() for text in texts]


def test_a_write_may_have_a_thousand_arguments(ground: Ground) -> None:
    """A unit of work has up to 512 commands, and each may leave something in one list."""
    backend = ground.backend()
    many = [str(number) for number in range(1_000)]
    write(backend, ("RPUSH", "a list", *many), *[("SET", f"key {number}", number) for number in many])
    assert read(backend, ("LLEN", "a list"), ("GET", "key 999")) == [1_000, b"999"]


def test_a_write_with_more_arguments_than_a_script_can_pass_on_stops_the_whole_commit(
    ground: Ground,
) -> None:
    """Lua hands a command 8,000 values at most, and says so only when the first writes stand."""
    backend = ground.backend()
    with pytest.raises(StoreRefused, match="arguments for a list"):
        backend.commit(plan_of(FIRST, ("RPUSH", "a list", *map(str, range(8_100)))))
    assert ground.dump() == {}


def test_an_expiry_lasts_until_the_key_is_set_or_made_again(ground: Ground) -> None:
    """
    If a string is set again without expiry, or a hash is emptied and made again
    Expect that the new value stays.
    """
    backend = ground.backend()
    write(backend, ("SET", "a string", "text", "PX", 30_000), ("HSET", "a hash", "field", "value"))
    write(backend, ("EXPIRE", "a hash", 60), ("EXPIRE", "nothing", 60))
    assert all(ground.dump()[key].expires_at for key in ("a string", "a hash"))
    write(backend, ("SET", "a string", "text"), ("HDEL", "a hash", "field"), ("HSET", "nothing", "f", "v"))
    write(backend, ("HSET", "a hash", "field", "value"))
    assert [found.expires_at for found in ground.dump().values()] == [0] * 4


def test_adding_to_a_key_keeps_its_expiry(ground: Ground) -> None:
    """A results stream goes 60 s after the last answer, unless it is written again."""
    backend = ground.backend()
    write(backend, ("XADD", "results", "*", "a", "one"), ("EXPIRE", "results", 60))
    expires_at = ground.dump()["results"].expires_at
    ground.pass_time(5)
    write(backend, ("XADD", "results", "*", "a", "two"))
    assert ground.dump()["results"].expires_at == expires_at
    write(backend, ("EXPIRE", "results", 60))
    assert ground.dump()["results"].expires_at > expires_at


def test_a_container_without_members_is_no_key(ground: Ground) -> None:
    """Except a stream, which remembers its last id: entries that come later must sort behind."""
    backend = ground.backend()
    write(
        backend, ("HSET", "a hash", "f", "v"), ("ZADD", "a zset", 1, "m"), ("XADD", "a stream", "*", "m", "x")
    )
    ((entry_id, _),) = ground.dump()["a stream"].value
    write(backend, ("HDEL", "a hash", "f"), ("ZREM", "a zset", "m"), ("XDEL", "a stream", entry_id))
    write(backend, ("HDEL", "no hash", "f"), ("ZREM", "no zset", "m"), ("XDEL", "no stream", "1-1"))
    assert {key: found.value for key, found in ground.dump().items()} == {
        "a stream": [],
        "balance:meta": {"commits": b"3"},
    }
