"""Single records as front ends read them from a real store: pots, tables, reservations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.domain.commands import CashOut, Commit, Deposit, RecordContribution, Release, Reserve
from app.domain.policy import Policy
from app.domain.pots import ACTIVE
from app.domain.reservations import COMMITTED, EXPIRED, HELD, RELEASED, Reservation
from app.services.faults import Unavailable
from app.services.lookups import TableView
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.lookups import StoreLookups
from tests.support.carrying import PARTITIONS, Carrier, Order, id_in, load_all
from tests.support.store import RealStore

ANNA, BERT = id_in(1), id_in(2)
TABLE = id_in(3)


@asynccontextmanager
async def lookups(url: str) -> AsyncIterator[StoreLookups]:
    """The lookups of one front end."""
    found = StoreLookups(AsyncConnection(url), PARTITIONS)
    try:
        yield found
    finally:
        await found.close()


def bet(hand_id: str, seat_id: int, account_id: str, amount: int) -> Order:
    """A contribution under a key of its own."""
    command = RecordContribution(
        table_id=TABLE, hand_id=hand_id, seat_id=seat_id, account_id=account_id, amount=amount
    )
    return command, f"{hand_id}-{seat_id}"


def reserve(amount: int, timeout_seconds: int = 3_600) -> Order:
    """A hold of Anna's under a key that names its chips."""
    command = Reserve(account_id=ANNA, table_id=TABLE, amount=amount, timeout_seconds=timeout_seconds)
    return command, f"r{amount}"


def test_a_pot_and_its_table_are_looked_up_as_they_are(real_store: RealStore) -> None:
    """Who has taken more than was brought is below 0; what nobody has heard of is empty, or not there."""
    carrier = Carrier(real_store.backend())
    carrier.carry_out((Deposit(account_id=ANNA, amount=90), "d"), reserve(60))
    carrier.carry_out((Deposit(account_id=BERT, amount=90), "d"))
    (held,) = load_all(carrier.store, accounts=[ANNA]).holds[ANNA]
    carrier.carry_out((Commit(reservation_id=held), ""))
    carrier.carry_out(bet("h1", 1, ANNA, 20), bet("h1", 2, BERT, 5), bet("h2", 1, ANNA, 1))
    carrier.carry_out((CashOut(account_id=BERT, table_id=TABLE, amount=4), "c"))

    async def scenario() -> None:
        async with lookups(real_store.url) as found:
            pot = await found.pot(TABLE, "h1")
            assert pot is not None
            assert pot == load_all(carrier.store, pots=[(TABLE, "h1")]).pots[TABLE, "h1"]
            assert (pot.status, pot.total) == (ACTIVE, 25)
            assert await found.pot(TABLE, "h3") is None
            table = await found.table(TABLE)
            assert table == TableView(table_id=TABLE, in_play={ANNA: 39, BERT: -9}, pots={"h1": 25, "h2": 1})
            assert table.deficit == 9
            assert await found.table("nowhere") == TableView(table_id="nowhere", in_play={}, pots={})

    asyncio.run(scenario())


def test_reservations_are_listed_by_their_end(real_store: RealStore) -> None:
    """The soonest first; what has ended is not listed, but found by its id for a while."""
    carrier = Carrier(real_store.backend())
    orders = [reserve(1, 900), reserve(2, 300), reserve(3, 600), reserve(4), reserve(5)]
    _, *held = carrier.carry_out((Deposit(account_id=ANNA, amount=100), "d"), *orders)
    ids = [each.reservation_id for each in held]
    carrier.carry_out((Commit(reservation_id=ids[3]), ""), (Release(reservation_id=ids[4]), ""))

    async def scenario() -> None:
        async with lookups(real_store.url) as found:
            listed = await found.reservations(ANNA)
            assert [(each.amount, each.status) for each in listed] == [(2, HELD), (3, HELD), (1, HELD)]
            assert [await found.reservation(each.reservation_id) for each in listed] == listed
            ended = [await found.reservation(each) for each in ids[3:]]
            assert [each and each.status for each in ended] == [COMMITTED, RELEASED]
            assert await found.reservations("nobody") == []
            for unknown in ("nonsense", "001-" + "a" * 26):
                assert await found.reservation(unknown) is None

    asyncio.run(scenario())


def test_a_reservation_past_its_time_is_expired_before_anybody_swept(real_store: RealStore) -> None:
    """It ended when its time was over, not when somebody looked; and it is on no list any more."""
    carrier = Carrier(real_store.backend(), policy=Policy(partitions=PARTITIONS, reservation_timeout_ms=300))
    short = (Reserve(account_id=ANNA, table_id=TABLE, amount=5), "short")
    _, brief, long = carrier.carry_out((Deposit(account_id=ANNA, amount=10), "d"), short, reserve(3))

    async def scenario() -> tuple[Reservation, Reservation]:
        async with lookups(real_store.url) as found:
            before = seen = await found.reservation(brief.reservation_id)
            assert before is not None
            while seen == before:
                seen = await found.reservation(brief.reservation_id)
            assert seen is not None
            listed = await found.reservations(ANNA)
            assert [each.reservation_id for each in listed] == [long.reservation_id]
            return before, seen

    before, after = asyncio.run(asyncio.wait_for(scenario(), timeout=5))
    assert (before.status, after.status) == (HELD, EXPIRED)
    assert after.released_at == before.expires_at
    kept = load_all(carrier.store, reservations=[brief.reservation_id]).reservations
    assert kept == {brief.reservation_id: before}, "nobody has swept"


def test_a_store_that_is_away_is_no_empty_store() -> None:
    """Nothing is told of a pot, table or reservation that cannot be looked at."""

    async def scenario() -> None:
        async with lookups("unix:///nowhere/store.sock") as found:
            for look in (
                found.pot(TABLE, "h1"),
                found.table(TABLE),
                found.reservation("001-" + "a" * 26),
                found.reservations(ANNA),
            ):
                with pytest.raises(Unavailable):
                    await look

    asyncio.run(scenario())
