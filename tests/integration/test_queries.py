"""Reads of front ends, straight from a real store: what an account has now, or had when it was last seen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.domain.commands import Deposit, Reserve
from app.domain.policy import Policy
from app.services.faults import StoreRefused, Unavailable
from app.services.queries import BalanceView, Health
from app.storage import keys, queries
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.queries import StoreQueries
from tests.support.carrying import PARTITIONS, Carrier, id_in
from tests.support.store import RealStore

ANNA, BERT = id_in(1), id_in(2)


@asynccontextmanager
async def reader(store: RealStore) -> AsyncIterator[StoreQueries]:
    """The reads of one front end."""
    found = StoreQueries(AsyncConnection(store.url), PARTITIONS)
    try:
        yield found
    finally:
        await found.close()


def test_a_hold_past_its_time_takes_nothing_from_what_is_available(real_store: RealStore) -> None:
    """Its chips are there again at that moment, not when a sweep or a command comes by."""

    async def scenario() -> BalanceView:
        async with reader(real_store) as found:
            before = view = await found.balance(ANNA)
            assert (before.balance, before.available_balance) == (10, 2)
            while view.available_balance == before.available_balance:
                view = await found.balance(ANNA)
            return view

    Carrier(real_store.backend(), policy=Policy(reservation_timeout_ms=300)).carry_out(
        (Deposit(account_id=ANNA, amount=10), "d"),
        (Reserve(account_id=ANNA, table_id="t", amount=3), "r"),
        (Reserve(account_id=ANNA, table_id="t", amount=5, timeout_seconds=3_600), "long"),
    )
    after = asyncio.run(asyncio.wait_for(scenario(), timeout=5))
    assert (after.balance, after.available_balance) == (10, 5), "the long hold still counts"
    assert after.reserved == 8, "nobody has swept"


@pytest.mark.parametrize(
    ("setting", "value"), [("maxmemory", "1mb"), ("min-replicas-to-write", "1")], ids=["full", "alone"]
)
def test_a_store_that_takes_no_writes_is_not_ready(real_store: RealStore, setting: str, value: str) -> None:
    """
    Given owners for all partitions, and a store that refuses writes for whatever reason
    Expect it to be seen, by a write that changes nothing.
    """
    backend = real_store.backend()
    Carrier(backend)
    before = backend.call("CONFIG", "GET", setting)[1]
    names = sorted(backend.call("KEYS", "*"))

    async def health() -> Health:
        async with reader(real_store) as found:
            return await found.health()

    assert asyncio.run(health()).ready
    backend.call("CONFIG", "SET", setting, value)
    try:
        found = asyncio.run(health())
    finally:
        backend.call("CONFIG", "SET", setting, before)
    assert (found.store, found.writable, found.ready) == (True, False, False)
    assert found.reason == "store takes no writes"
    assert asyncio.run(health()).ready
    assert sorted(backend.call("KEYS", "*")) == names


@pytest.mark.parametrize("damage", [("HSET", "balance", "much"), ("SET", "text")], ids=["field", "type"])
def test_an_account_that_cannot_be_read_is_nobody_elses_trouble(
    real_store: RealStore, damage: tuple[str, ...]
) -> None:
    """
    Given reads of several accounts in one round trip, and one of the accounts broken
    Expect it to be told as a fault, not as a store that is away, and the others as they are.
    """
    backend, key = real_store.backend(), keys.account(2, BERT)
    carrier = Carrier(backend)
    carrier.carry_out((Deposit(account_id=ANNA, amount=10), "d"))
    carrier.carry_out((Deposit(account_id=BERT, amount=10), "d"))
    command, *arguments = damage
    if command == "SET":
        backend.call("DEL", key)
    backend.call(command, key, *arguments)

    async def scenario() -> list[BalanceView | BaseException]:
        async with reader(real_store) as found:
            asked = (found.balance(each) for each in (ANNA, BERT, "nobody"))
            return await asyncio.gather(*asked, return_exceptions=True)

    anna, bert, nobody = asyncio.run(scenario())
    assert isinstance(anna, BalanceView)
    assert (anna.balance, anna.stale) == (10, False)
    assert isinstance(bert, StoreRefused)
    assert isinstance(nobody, BalanceView)


def test_a_last_known_balance_says_so_and_is_not_known_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old chips are better than no answer for a minute; after that they are a rumour."""
    store = RealStore(tmp_path / "own")
    store.start().empty()
    Carrier(store.backend()).carry_out((Deposit(account_id=ANNA, amount=10), "d"))

    async def scenario() -> None:
        async with reader(store) as found:
            fresh = await found.balance(ANNA)
            store.stop()
            old = await found.balance(ANNA)
            assert (fresh.stale, old.stale) == (False, True)
            assert (old.balance, old.as_of) == (10, fresh.as_of)
            monkeypatch.setattr(queries, "STALE_SECONDS", 0.0)
            with pytest.raises(Unavailable):
                await found.balance(ANNA)

    asyncio.run(scenario())
