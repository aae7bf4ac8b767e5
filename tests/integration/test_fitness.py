"""A store that could lose money, or has lost some, is refused with the reason, and nothing is done on it."""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.faults import StoreUnavailable, StoreUnfit
from app.services.queue import Lane
from app.storage import fitness, keys, library
from app.storage.backends.valkey import ValkeyBackend
from tests.support.grounds import plan_of, read, write
from tests.support.store import RealStore

PARTITIONS = 4
HALF_OF_ANY_MACHINE = 2**62


@pytest.fixture(scope="module")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStore]:
    """A server whose settings these tests may spoil."""
    store = RealStore(tmp_path_factory.mktemp("spoilt"))
    store.start()
    yield store
    store.stop()


@pytest.fixture
def backend(own_store: RealStore) -> Iterator[ValkeyBackend]:
    """A connection to that server; the settings are put right again afterwards."""
    own_store.empty(PARTITIONS)
    backend = own_store.backend()
    names = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy", "maxmemory")
    right = {name: backend.call("CONFIG", "GET", name)[1] for name in names}
    yield backend
    for name, value in right.items():
        backend.call("CONFIG", "SET", name, value)


def check(backend: fitness.Caller, **changed: Any) -> int:
    """Look at the store as every process does at its start."""
    return fitness.check(backend, **({"partitions": PARTITIONS, "allow_weak": False} | changed))


def test_a_durable_store_is_fit(backend: ValkeyBackend) -> None:
    """And tells how many commits it has seen."""
    assert check(backend) == 0
    write(backend, ("SET", "a string", "text"))
    assert check(backend) == 1


WEAK = [
    ("appendonly", "no", "appendonly is no, not yes"),
    ("appendfsync", "everysec", "appendfsync is everysec, not always"),
    ("appendfsync", "no", "appendfsync is no, not always"),
    ("no-appendfsync-on-rewrite", "yes", "no-appendfsync-on-rewrite is yes, not no"),
    ("maxmemory-policy", "allkeys-lru", "maxmemory-policy is allkeys-lru, not noeviction"),
    ("maxmemory", "0", "maxmemory is not set"),
    ("maxmemory", str(HALF_OF_ANY_MACHINE), "is more than half of the machine's"),
]


@pytest.mark.parametrize(("name", "value", "told"), WEAK)
def test_a_setting_that_can_lose_money_is_refused_by_name(
    backend: ValkeyBackend, name: str, value: str, told: str
) -> None:
    """Whoever reads the message knows what to set, and that there is a way to insist."""
    backend.call("CONFIG", "SET", name, value)
    with pytest.raises(StoreUnfit) as refusal:
        check(backend)
    assert told in str(refusal.value)
    assert "ALLOW_WEAK_DURABILITY=on" in str(refusal.value)
    others = {each for each, _, _ in WEAK if each not in name and name not in each}
    assert not [each for each in others if f"{each} is" in str(refusal.value)], "what is right is not named"


def test_all_that_is_wrong_is_told_at_once(backend: ValkeyBackend) -> None:
    """Nobody should have to start four times."""
    for name, value in {
        "appendfsync": "everysec",
        "maxmemory-policy": "allkeys-lru",
        "maxmemory": "0",
    }.items():
        backend.call("CONFIG", "SET", name, value)
    with pytest.raises(StoreUnfit, match=r"appendfsync.*maxmemory-policy.*maxmemory is not set"):
        check(backend)


def test_a_weak_store_can_be_insisted_on(backend: ValkeyBackend, caplog: pytest.LogCaptureFixture) -> None:
    """For a development machine; the log says what it costs."""
    backend.call("CONFIG", "SET", "appendfsync", "everysec")
    with caplog.at_level(logging.WARNING):
        assert check(backend, allow_weak=True) == 0
    assert "appendfsync is everysec" in caplog.text
    caplog.clear()
    backend.call("CONFIG", "SET", "appendfsync", "always")
    check(backend, allow_weak=True)
    assert not caplog.text, "nothing is wrong, so nothing is said"


class Between:
    """A real server between whose replies something happens, or of which one reply is another."""

    def __init__(self, backend: ValkeyBackend) -> None:
        self._backend = backend

    def call(self, *command: Any) -> Any:
        return self._backend.call(*command)


class OldServer(Between):
    """It says that it is older than functions are."""

    def call(self, *command: Any) -> Any:
        reply = super().call(*command)
        return b"redis_version:6.2.14\r\n" if command == ("INFO", "server") else reply


class Redis70(OldServer):
    """One that has functions, and does not know what replicas have on disk."""

    def call(self, *command: Any) -> Any:
        reply = super().call(*command)
        return b"redis_version:7.0.15\r\n" if command == ("INFO", "server") else reply


class FasterProcess(Between):
    """Another process starts at the same time, and is faster."""

    def call(self, *command: Any) -> Any:
        if command[:2] == ("FUNCTION", "LOAD"):
            super().call(*command)
        return super().call(*command)


def test_a_server_without_functions_is_refused(backend: ValkeyBackend) -> None:
    with pytest.raises(StoreUnfit, match=r"version 6\.2\.14; 7\.0 or newer"):
        check(OldServer(backend))


def test_only_a_server_that_can_tell_is_waited_for(backend: ValkeyBackend) -> None:
    """WAITAOF came with Redis 7.2; without waiting, 7.0 will do."""
    check(Redis70(backend))
    with pytest.raises(StoreUnfit, match=r"7\.0\.15, which knows no WAITAOF"):
        check(Redis70(backend), wait_replicas=1)
    check(backend, wait_replicas=1)


def test_a_missing_function_library_is_loaded(backend: ValkeyBackend) -> None:
    """The first process of a release brings it along; it is then part of the data."""
    backend.call("FUNCTION", "FLUSH")
    check(backend)
    (found,) = backend.call("FUNCTION", "LIST", "LIBRARYNAME", library.LIBRARY)
    assert library.LIBRARY.encode() in found
    write(backend, ("SET", "a string", "text"))


def test_two_processes_that_start_at_once_are_both_fine(backend: ValkeyBackend) -> None:
    """
    If another process loads the library between our look and our loading
    Expect no fault: it is there.
    """
    backend.call("FUNCTION", "FLUSH")
    check(FasterProcess(backend))
    check(backend)


def test_another_library_under_our_name_is_refused_and_left_alone(backend: ValkeyBackend) -> None:
    """A release that changed the text without the name would run on what it never tested."""
    other = library.source() + "\n-- another release\n"
    backend.call("FUNCTION", "LOAD", "REPLACE", other)
    for _ in range(2):
        with pytest.raises(StoreUnfit, match=library.LIBRARY):
            check(backend)


def test_the_libraries_of_two_releases_live_side_by_side(backend: ValkeyBackend) -> None:
    """Old workers finish on theirs while new ones begin on ours."""
    backend.call("FUNCTION", "FLUSH")
    older = re.sub(r"(name ?= ?'?\w+)_1", r"\1_0", library.source())
    backend.call("FUNCTION", "LOAD", older)
    check(backend)
    assert len(backend.call("FUNCTION", "LIST")) == 2


@pytest.mark.parametrize("partitions", [1, 3, 5, 64])
def test_the_number_of_partitions_is_fixed_at_the_first_start(
    backend: ValkeyBackend, partitions: int
) -> None:
    """With another number, accounts would be looked for where they are not."""
    with pytest.raises(StoreUnfit, match=f"PARTITIONS is {partitions}, but the store was made with 4"):
        check(backend, partitions=partitions)
    check(backend)


def test_an_unknown_layout_is_refused(backend: ValkeyBackend) -> None:
    """A release must not guess what a later one has written."""
    backend.call("HSET", keys.META, "layout", "2")
    with pytest.raises(StoreUnfit, match="layout 2"):
        check(backend)


def test_the_store_keeps_its_id(backend: ValkeyBackend) -> None:
    """It is made at the first start, and never again."""
    store_id = backend.call("HGET", keys.META, "storeId")
    check(backend)
    assert backend.call("HGET", keys.META, "storeId") == store_id


def test_a_full_store_loses_no_owner_and_writes_nothing(backend: ValkeyBackend) -> None:
    """
    If the store reaches its memory limit
    Expect every write of records refused as a whole, before it begins, and told as a store that is away;
    reads that go on, owners that keep, hand over and take partitions; and all well when there is room.
    """
    taken = plan_of(("HSET", "a hash", "field", "value"), ("SET", "a string", "text"))
    backend.call("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="OutOfMemory"):
        backend.commit(taken)
    with pytest.raises(StoreUnavailable, match="OutOfMemory"):
        backend.append([((0, Lane.BULK), "a message")])
    assert read(backend, ("GET", "a string"), ("XLEN", keys.queue(0, Lane.BULK))) == [None, 0]
    _, (lease,) = backend.acquire("anna", [0], 60_000, 1)
    assert backend.renew("anna", {0: lease.epoch}, 60_000) == ([], ["anna"])
    assert backend.mark(0, lease.epoch, Lane.BULK, "place") == 1
    backend.release("anna", {0: lease.epoch}, leave=True)
    backend.call("CONFIG", "SET", "maxmemory", 2**29)
    assert backend.commit(taken) == []


def test_what_is_allowed_to_be_missing_hides_no_second_loss(backend: ValkeyBackend) -> None:
    """
    Given a store that has lost commits, which an operator allows
    Expect it to count on from what was seen: so who saw more than its next older copy has refuses that too.
    """
    check(backend)
    backend.call("HSET", keys.META, "commits", 900)
    with pytest.raises(StoreUnfit, match="counts 900 commits, 1000 were seen"):
        check(backend, seen_commits=1_000)
    assert check(backend, allow_lost=True) == 1_000
    write(backend, ("SET", "a string", "text"))
    assert check(backend, seen_commits=1_001) == 1_001
    backend.call("HSET", keys.META, "commits", 940)
    with pytest.raises(StoreUnfit, match="counts 940 commits, 1001 were seen"):
        check(backend, seen_commits=1_001)


def test_an_older_copy_of_the_store_is_refused(tmp_path: Path) -> None:
    """
    Given a process that has seen the store's third commit
    If the server comes back with a copy of its folder from after the first
    Expect it to be refused, since answers were given that it does not know: by every process from then on,
    whatever it counts, until an operator allows it.
    """
    folder, copy = tmp_path / "data" / "store", tmp_path / "copy"
    store = RealStore(tmp_path / "data").start()
    try:
        check(store.backend())
        write(store.backend(), ("SET", "a string", "text"))
        store.kill()
        shutil.copytree(folder / "appendonlydir", copy)
        store.start()
        for _ in range(2):
            write(store.backend(), ("SET", "a string", "text"))
        store.kill()
        store.start()
        assert check(store.backend(), seen_commits=3) == 3

        store.kill()
        shutil.rmtree(folder / "appendonlydir")
        shutil.copytree(copy, folder / "appendonlydir")
        store.start()
        with pytest.raises(StoreUnfit, match="older copy: it counts 1 commits, 3 were seen"):
            check(store.backend(), seen_commits=3)
        for _ in range(3):
            write(store.backend(), ("SET", "a string", "text"))  # by a process that had seen less
        for seen in (0, 3):
            with pytest.raises(StoreUnfit, match="older copy: a process that had seen 3 commits"):
                check(store.backend(), seen_commits=seen)
        assert check(store.backend(), seen_commits=3, allow_lost=True) == 4
        assert check(store.backend(), seen_commits=3) == 4
        with pytest.raises(StoreUnfit, match="older copy: it counts 4 commits, 5 were seen"):
            check(store.backend(), seen_commits=5)
    finally:
        store.stop()
