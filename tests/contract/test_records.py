"""The store as audits see it: the twin of the tests answers as the server does."""

import pytest

from app.services.faults import StoreRefused
from app.storage.audits.state import AuditedStore
from app.storage.backend import Backend
from app.storage.backends.memory import MemoryServer
from app.storage.plan import Plan
from tests.support.playing_fields import TwinRecords
from tests.support.store import RealStore


def fill(backend: Backend) -> None:
    """A key of each type that is read."""
    plan = Plan()
    plan.write("SET", "text", "1")
    plan.write("RPUSH", "list", *range(5))
    plan.write("SADD", "set", *(f"m{number:04d}" for number in range(1_200)))
    for number in range(1_100):
        plan.write("SET", f"many:{number}", number)
    plan.write("HINCRBY", "meta", "commits", 1)
    backend.commit(plan)


@pytest.fixture(params=["twin", "server"])
def records(request: pytest.FixtureRequest, real_store: RealStore) -> AuditedStore:
    if request.param == "twin":
        twin = TwinRecords(MemoryServer())
        fill(twin)
        return twin
    backend = real_store.backend()
    backend.call("DEL", "balance:meta")
    fill(backend)
    return backend


def test_many_texts_are_read_at_once(records: AuditedStore) -> None:
    """In their order, None where there is none or no text; more than one page of them."""
    names = [*(f"many:{number}" for number in range(1_100)), "nothing"]
    assert records.many(names) == [*(b"%d" % number for number in range(1_100)), None]
    assert records.many([]) == []


def test_many_ranges_are_read_at_once(records: AuditedStore) -> None:
    """Each from its first to its last index; nothing where there is no list."""
    assert records.ranges([("list", 1, 2), ("nothing", 0, -1), ("list", 3, -1)]) == [
        [b"1", b"2"],
        [],
        [b"3", b"4"],
    ]
    assert records.ranges([]) == []
    with pytest.raises(StoreRefused):
        records.ranges([("list", 0, 0), ("text", 0, 0)])


def test_all_members_are_read_in_order(records: AuditedStore) -> None:
    """Page by page, where there are many."""
    assert records.members("set") == [f"m{number:04d}" for number in range(1_200)]
    assert records.members("nothing") == []


def test_all_names_are_seen(records: AuditedStore) -> None:
    """From page to page, until the cursor is at the beginning again; by their prefix, too."""
    cursor, seen = records.page("0")
    while cursor != "0":
        cursor, names = records.page(cursor)
        seen += names
    assert {"text", "list", "set", "meta", "many:0", "many:1099"} == {
        name for name in seen if not name.startswith("many:") or name in ("many:0", "many:1099")
    }
    assert records.size() == len(set(seen)) == 1_104
    assert {name for page in records.scan("many:") for name in page} == {
        f"many:{number}" for number in range(1_100)
    }
