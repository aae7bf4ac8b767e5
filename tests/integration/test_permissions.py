"""A user of the store without all the rights that a commit needs: it writes nothing, rather than a part."""

import pytest

from app.services.faults import StoreUnavailable
from app.storage.backends.valkey import ValkeyBackend
from tests.support.grounds import Write, plan_of
from tests.support.store import RealStore

WRITES: list[Write] = [
    ("HSET", "a hash", "field", "value"),
    ("HDEL", "a hash", "field"),
    ("HINCRBY", "a hash", "counter", 1),
    ("SET", "a string", "text"),
    ("RPUSH", "a list", "element"),
    ("SADD", "a set", "member"),
    ("ZADD", "a zset", 1, "member"),
    ("ZREM", "a zset", "member"),
    ("XADD", "a stream", "*", "m", "message"),
    ("XDEL", "a stream", "1-1"),
    ("EXPIRE", "a hash", 10),
]
NEEDED = [*((str(write[0]), write) for write in WRITES), ("HDEL", ("HCOUNT", "a table", "a|anna", 1))]


@pytest.mark.parametrize(("right", "write"), NEEDED, ids=lambda each: each if isinstance(each, str) else "")
def test_a_right_that_is_missing_stops_the_whole_commit(
    real_store: RealStore, right: str, write: Write
) -> None:
    """
    Given a user that may do all but one of the things that commits do
    Expect nothing to be written, and the store to count as away: no command is to blame.
    """
    admin = real_store.backend()
    admin.call("ACL", "SETUSER", "few", "reset", "on", ">secret", "~*", "+@all", f"-{right.lower()}")
    few = ValkeyBackend(real_store.url.replace("unix://", "unix://few:secret@"))
    first: Write = ("HSET", "the first write", "done", "yes") if right == "SET" else ("SET", "first", "done")
    before = sorted(admin.call("KEYS", "*"))
    try:
        with pytest.raises(StoreUnavailable, match="NoPermission"):
            few.commit(plan_of(first, write))
    finally:
        few.close()
        admin.call("ACL", "DELUSER", "few")
    assert sorted(admin.call("KEYS", "*")) == before
