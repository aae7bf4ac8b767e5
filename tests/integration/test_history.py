"""Reads of what has happened on an account, from a real store: pages, types, windows, over many segments."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import pytest

from app.domain.accounts import Account, Origin, open_account, post
from app.domain.commands import Deposit, EnsureAccount
from app.domain.identifiers import derive_id
from app.domain.ledger import LedgerEntry, Metadata, TransactionType
from app.services.faults import StoreRefused, Unavailable
from app.storage import codec, history, keys
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.history import StoreHistory
from app.storage.plan import Plan
from tests.support.carrying import PARTITIONS, Carrier, id_in
from tests.support.store import RealStore

ANNA = id_in(1)
T = TypeVar("T")


def asked(store: RealStore, question: Callable[[StoreHistory], Awaitable[T]]) -> T:
    """The answer of one front end's reads."""

    async def scenario() -> T:
        found = StoreHistory(AsyncConnection(store.url), PARTITIONS)
        try:
            return await question(found)
        finally:
            await found.close()

    return asyncio.run(scenario())


class Past:
    """An account with a long past, written as commits write it: a few entries for every moment."""

    def __init__(self, store: RealStore, entries: int, *, initial: bool, seed: int) -> None:
        self.entries: list[LedgerEntry] = []
        self._random = Random(seed)
        self._plan, self._backend = Plan(), store.backend()
        account, now = open_account(ANNA, "Deposit", 1_000), 1_000
        for number in range(entries):
            now += self._random.choice([0, 0, 1, 7])
            account = self._post(account, now, initial=initial and number == 0)
        self._plan.write("HSET", keys.account(1, ANNA), *codec.account_fields(account, 1, opened=True))
        self._plan.write("HINCRBY", keys.META, "commits", 1)
        self._backend.commit(self._plan)

    def _post(self, account: Account, now: int, *, initial: bool) -> Account:
        kind = self._random.choice([TransactionType.DEPOSIT, TransactionType.DEPOSIT, TransactionType.BONUS])
        origin = Origin(derive_id(1, "test", ANNA, str(len(self.entries))), now)
        account, posting = post(account, 1, kind, Metadata(), origin, initial=initial)
        seq = posting.entry.seq
        self._plan.write("RPUSH", keys.ledger(1, ANNA, keys.segment_of(seq)), posting.element)
        self._plan.write("RPUSH", keys.transactions_of(1, ANNA, kind), seq)
        self.entries.append(posting.entry)
        return account


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("entries", [1, 3, keys.SEGMENT_LENGTH, 2 * keys.SEGMENT_LENGTH + 5])
def test_pages_and_windows_are_those_of_a_reader_who_reads_everything(
    real_store: RealStore, entries: int, initial: bool
) -> None:
    """Newest first, totals right, at every border of a segment, whether the ledger begins at 0 or 1."""
    past = Past(real_store, entries, initial=initial, seed=entries)
    newest_first = past.entries[::-1]
    random = Random(entries)
    last = past.entries[-1].timestamp
    pages = [(0, 200), (entries - 1, 5), (entries, 5), (10**15, 200)]
    pages += [(random.randrange(entries), random.randint(1, 200)) for _ in range(10)]
    windows = [(None, None), (last, last), (last + 1, None), (None, 0), (last, 1_000)]
    windows += [(random.randint(900, last), random.randint(900, last + 9)) for _ in range(15)]

    async def compare(found: StoreHistory) -> None:
        for offset, limit in pages:
            for kind in ["", "BONUS", "WITHDRAW"]:
                wanted = [entry for entry in newest_first if kind in ("", entry.type)]
                page = await found.transactions(ANNA, kind=kind, offset=offset, limit=limit)
                assert page is not None
                assert (page.entries, page.total) == (wanted[offset : offset + limit], len(wanted))
        for since, until in windows:
            window = await found.ledger(ANNA, since=since, until=until, limit=20)
            assert window is not None
            within = [
                entry
                for entry in newest_first
                if (since is None or entry.timestamp >= since) and (until is None or entry.timestamp <= until)
            ]
            assert ([link.entry for link in window.links], window.total) == (within[:20], len(within))

    asked(real_store, compare)


def test_a_window_is_found_by_search(real_store: RealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand times the entries, and about twice the reads."""
    past = Past(real_store, 3_000, initial=False, seed=1)
    monkeypatch.setattr(history, "PROBES", 4)
    counted = CountingConnection(real_store.url)

    async def scenario() -> int:
        found = StoreHistory(counted, PARTITIONS)
        try:
            window = await found.ledger(ANNA, since=past.entries[1_700].timestamp, limit=1)
        finally:
            await found.close()
        assert window is not None
        return counted.read_elements

    assert asyncio.run(scenario()) < 100


class CountingConnection(AsyncConnection):
    """The real connection; counts the elements of ledgers that were read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.read_elements = 0

    async def read(self, plan: Plan) -> tuple[int, list[object]]:
        self.read_elements += sum(command == "LINDEX" for command, *_ in plan.reads)
        return await super().read(plan)


def test_a_type_is_found_without_walking_the_history(real_store: RealStore) -> None:
    """Only what is shown is read, however much of other types lies between."""
    past = Past(real_store, 2_000, initial=True, seed=2)
    counted = CountingConnection(real_store.url)

    async def scenario() -> list[LedgerEntry]:
        found = StoreHistory(counted, PARTITIONS)
        try:
            page = await found.transactions(ANNA, kind="BONUS", offset=300, limit=3)
        finally:
            await found.close()
        assert page is not None
        return page.entries

    of_type = [entry for entry in past.entries[::-1] if entry.type == "BONUS"]
    assert asyncio.run(scenario()) == of_type[300:303]
    assert counted.read_elements == 3


def test_a_transaction_is_found_by_its_id_alone(real_store: RealStore) -> None:
    """The initial one too; what is no id, or of a partition that is not there, is nothing."""
    carrier = Carrier(real_store.backend())
    carrier.carry_out(
        (EnsureAccount(account_id=ANNA, initial_balance=5), ""), (Deposit(account_id=ANNA, amount=2), "d")
    )

    async def scenario(found: StoreHistory) -> None:
        page = await found.transactions(ANNA, limit=9)
        assert page is not None
        for entry in page.entries:
            assert await found.transaction(entry.transaction_id) == entry
        for unknown in ("", "nonsense", derive_id(1, "x", "y", "z"), derive_id(998, "x", "y", "z")):
            assert await found.transaction(unknown) is None

    asked(real_store, scenario)


def test_of_an_account_that_nobody_opened_there_is_nothing(real_store: RealStore) -> None:
    """Not an empty past."""

    async def scenario(found: StoreHistory) -> None:
        assert await found.transactions(ANNA, limit=1) is None
        assert await found.ledger(ANNA, limit=1) is None

    asked(real_store, scenario)


@pytest.mark.parametrize("element", ["nonsense", ""])
def test_an_entry_that_was_changed_is_not_shown(real_store: RealStore, element: str) -> None:
    """A past that does not match its checksums would be a lie."""
    Past(real_store, 3, initial=False, seed=3)
    real_store.backend().call("LSET", keys.ledger(1, ANNA, 0), 1, element)
    with pytest.raises(StoreRefused):
        asked(real_store, lambda found: found.transactions(ANNA, limit=9))


def test_entries_that_changed_places_are_not_shown(real_store: RealStore) -> None:
    """Each is whole, and yet it is not the one that stood there."""
    Past(real_store, 3, initial=False, seed=3)
    backend, key = real_store.backend(), keys.ledger(1, ANNA, 0)
    backend.call("RPUSH", key, backend.call("LPOP", key))
    with pytest.raises(StoreRefused):
        asked(real_store, lambda found: found.ledger(ANNA, limit=9))


def test_without_the_store_there_is_no_past() -> None:
    """Unlike a balance, it is not answered from memory."""

    async def scenario() -> None:
        found = StoreHistory(AsyncConnection("redis://127.0.0.1:1/0"), PARTITIONS)
        with pytest.raises(Unavailable):
            await found.ledger(ANNA, limit=1)
        await found.close()

    asyncio.run(scenario())
