"""The audit on a real store: silent on a whole one, exact on a damaged one, undisturbed by a busy one."""

import threading
from itertools import count

import pytest

from app.domain.commands import CashOut, Commit, Deposit, EnsureAccount, Release, Reserve
from app.services.faults import StoreUnfit
from app.services.verification import Report, What
from app.storage import keys
from app.storage.auditing import Auditor, partitions_of
from tests.support.books import Books
from tests.support.damages import DAMAGES, Damage, home, ledger
from tests.support.pot_damages import POT_DAMAGES
from tests.support.store import RealStore


def audited(store: RealStore) -> Report:
    backend = store.backend()
    return Auditor(backend, partitions_of(backend)).run()


def test_a_whole_store_is_whole(real_store: RealStore) -> None:
    """Every kind of entry and every state of a reservation; the numbers are those of the evening."""
    Books(real_store.backend()).play()
    report = audited(real_store)
    assert report.findings == []
    assert report.ok
    assert (report.accounts, report.entries, report.reservations) == (5, 15, 8)
    assert report.supply == report.totals
    assert (report.supply.deposits, report.supply.withdrawals) == (3_200, 70)
    assert (report.supply.accounts, report.supply.in_play) == (3_040, 140)
    assert (report.supply.table_deficits, report.supply.difference) == (50, 0)


def test_an_empty_store_is_whole_and_a_strange_one_is_refused(real_store: RealStore) -> None:
    """No account is no fault; no layout is not our store."""
    assert audited(real_store).ok
    backend = real_store.backend()
    backend.call("DEL", keys.META)
    with pytest.raises(StoreUnfit, match="never used"):
        partitions_of(backend)
    backend.call("HSET", keys.META, "layout", "9", "partitions", "4")
    with pytest.raises(StoreUnfit, match="layout 9"):
        partitions_of(backend)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.replace("_", "-"))
def test_damage_is_named_exactly(real_store: RealStore, damage: Damage) -> None:
    """Each planted damage is found where it was planted, and nothing else is reported."""
    Books(real_store.backend()).play()
    expected = damage(real_store.backend().call)
    report = audited(real_store)
    assert [(each.what, each.where, each.seq) for each in report.findings] == expected
    assert not report.ok


def test_pots_in_every_state_are_whole(real_store: RealStore) -> None:
    """Of 160 chips put in, 40 lie in the open pot, and 4 went to the house."""
    books = Books(real_store.backend())
    books.play()
    books.play_hands()
    report = audited(real_store)
    assert report.findings == []
    assert report.supply == report.totals
    assert (report.supply.in_pots, report.supply.house, report.supply.difference) == (40, 4, 0)


@pytest.mark.parametrize("damage", POT_DAMAGES, ids=lambda damage: damage.__name__.replace("_", "-"))
def test_damage_to_pots_is_named_exactly(real_store: RealStore, damage: Damage) -> None:
    """The same for pots: their records, the lists that name them, and what they have paid."""
    books = Books(real_store.backend())
    books.play()
    books.play_hands()
    expected = damage(real_store.backend().call)
    report = audited(real_store)
    assert [(each.what, each.where, each.seq) for each in report.findings] == expected
    assert not report.ok


@pytest.mark.parametrize(
    "name",
    [
        "accounts",
        "entries",
        "CHIPS|balances",
        "CHIPS|held",
        "CHIPS|inPlay",
        "CHIPS|inPots",
        "CHIPS|house",
        "CHIPS|type|DEPOSIT",
        "CHIPS|type|PAYOUT",
    ],
)
def test_a_changed_total_is_named_exactly(real_store: RealStore, name: str) -> None:
    """The supply is judged by the records, so a wrong total is one finding, not two."""
    Books(real_store.backend()).play()
    totals = keys.totals(home("alice"))
    real_store.backend().call("HINCRBY", totals, name, 7)
    report = audited(real_store)
    assert [(each.what, each.where) for each in report.findings] == [(What.TOTAL_DIFFERS, f"{totals} {name}")]
    assert report.supply.difference == 0


def test_a_long_ledger_is_read_in_segments(real_store: RealStore) -> None:
    """More than two segments, beside short ones; a damage in the second one has its own key and seq."""
    books = Books(real_store.backend())
    books.do(EnsureAccount(account_id="hot", initial_balance=5))
    for _ in range(9):
        books.do(*(Deposit(account_id="hot", amount=1) for _ in range(256)))
        books.do(*(Deposit(account_id=f"cold{number}", amount=1) for number in range(20)))
    report = audited(real_store)
    assert report.findings == []
    assert report.entries == 9 * 276 + 1
    call = real_store.backend().call
    element = call("LINDEX", ledger("hot", 1), 6)
    call("LSET", ledger("hot", 1), 6, element.replace(b'"amount":1,', b'"amount":2,'))
    found = audited(real_store).findings
    assert [(each.what, each.where, each.seq) for each in found] == [
        (What.ENTRY_ALTERED, ledger("hot", 1), 1030)
    ]


@pytest.mark.parametrize("initial", [True, False])
def test_what_follows_a_full_segment_stands_in_the_next(real_store: RealStore, initial: bool) -> None:
    """An entry that was put into a closed segment is out of place, whether the ledger begins with 0 or 1."""
    books = Books(real_store.backend())
    if initial:
        books.do(EnsureAccount(account_id="hot", initial_balance=5))
    for _ in range(5):
        books.do(*(Deposit(account_id="hot", amount=1) for _ in range(256)))
    assert audited(real_store).ok
    call = real_store.backend().call
    call("RPUSH", ledger("hot", 0), call("LPOP", ledger("hot", 1)))
    found = audited(real_store).findings
    assert [(each.what, each.where, each.seq) for each in found] == [
        (What.ENTRY_OUT_OF_PLACE, ledger("hot", 0), 1024)
    ]


def test_a_busy_store_gives_no_false_alarm(real_store: RealStore) -> None:
    """Accounts are opened, change, hold chips and play at new tables while one audit follows another."""
    books = Books(real_store.backend())
    books.play()
    stop = threading.Event()

    def keep_playing() -> None:
        for evening in count():
            if stop.is_set():
                return
            guests = [f"g{evening}-{number}" for number in range(6)]
            books.do(*(Deposit(account_id=each, amount=100) for each in ("alice", *guests)))
            table = f"table{evening}"
            made = books.do(*(Reserve(account_id=each, table_id=table, amount=60) for each in guests))
            books.do(*(Commit(reservation_id=each.reservation_id) for each in made[:4]))
            books.do(*(Release(reservation_id=each.reservation_id) for each in made[4:5]))
            books.play_hands(table, prefix=f"{evening}-")
            books.play_hands(prefix=f"{evening}-")
            books.do(*(CashOut(account_id=each, table_id=table, amount=70) for each in guests[:3]))

    playing = threading.Thread(target=keep_playing)
    playing.start()
    try:
        reports = [audited(real_store) for _ in range(12)]
    finally:
        stop.set()
        playing.join()
    assert [report.findings for report in reports] == [[]] * len(reports)
    assert [report.supply.difference for report in reports] == [0] * len(reports)
    assert reports[-1].entries > reports[0].entries
    assert reports[-1].supply.house > reports[0].supply.house
    assert audited(real_store).ok
