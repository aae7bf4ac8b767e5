"""The audits beside the service: what they find, what they freeze, and that they disturb nobody."""

import threading
from collections.abc import Callable
from itertools import count

import pytest

from app.domain.commands import CashOut, Commit, Deposit, EnsureAccount, Release, Reserve
from app.domain.identifiers import partition_of
from app.domain.outcomes import Outcome
from app.services.verification import What
from app.storage import keys
from app.storage.audits.retention import Kept
from app.storage.audits.state import Sizes
from app.storage.audits.summary import read_summary
from app.storage.backend import Reply
from app.storage.backends.valkey import ValkeyBackend
from app.storage.plan import Plan
from tests.support.audits import (
    CORRUPTIONS,
    DAY_MS,
    Auditing,
    Call,
    Planted,
    Victim,
    changed_amount,
    changed_balance,
    frozen,
    status_of,
    write_half,
)
from tests.support.books import PARTITIONS, Books, bet
from tests.support.damages import DAMAGES, Damage
from tests.support.pot_damages import POT_DAMAGES
from tests.support.store import RealStore

NAMES = ("victim", "friend", "carol", "dave")
SMALL = Sizes(events=7, accounts=3, entries=40)


def named(planted: Planted) -> tuple[What, str, int | None]:
    return planted.what, planted.where, planted.seq


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda corrupt: corrupt.__name__.replace("_", "-"))
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_a_corruption_is_found_and_only_its_account_is_frozen(
    real_store: RealStore, corrupt: Callable[[Victim], Planted], is_new: bool
) -> None:
    """
    Given a corruption in what was written since the last audit, or before it
    If an audit looks at what is new, or else a full pass
    Expect it named exactly, and the account that it concerns frozen, and no other.
    """
    books, call = Books(real_store.backend()), real_store.backend().call
    auditing = Auditing(real_store.backend(), hasty=is_new)
    write_half(books, NAMES)
    auditing.audit()
    write_half(books, NAMES)
    if not is_new:
        auditing.audit()
    planted = corrupt(Victim(call, "victim"))
    auditing.audit()
    assert auditing.open() == [named(planted)]
    assert frozen(call, NAMES) == {planted.account_id} - {None}
    summary = read_summary(real_store.backend(), PARTITIONS)
    assert (summary.findings, summary.drift_chips) == (1, 0)


@pytest.mark.parametrize(
    "damage", [*DAMAGES, *POT_DAMAGES], ids=lambda damage: damage.__name__.replace("_", "-")
)
def test_passes_over_everything_find_whatever_the_whole_audit_finds(
    real_store: RealStore, damage: Damage
) -> None:
    """The same damages, the same names: `balance verify` and the audits beside the service agree."""
    books = Books(real_store.backend())
    books.play()
    if damage in POT_DAMAGES:
        books.play_hands()
    auditing = Auditing(real_store.backend())
    auditing.audit()
    expected = damage(real_store.backend().call)
    auditing.audit()
    found = {(each.finding.what, each.finding.where, each.finding.seq): each for each in auditing.kept()}
    assert set(expected) <= set(found)
    beside = [each for place, each in found.items() if place not in expected]
    assert all(each.repaired for each in beside), "the index of a reservation that is lost is put right"


def test_a_busy_store_gives_no_false_alarm(real_store: RealStore) -> None:
    """Two auditors, in small steps, over and over, while accounts open and play; the feed is trimmed."""
    books, stop = Books(real_store.backend()), threading.Event()
    books.play()

    def keep_playing() -> None:
        for evening in count():
            if stop.is_set():
                return
            guests = [f"g{evening}-{number}" for number in range(6)]
            books.do(*(Deposit(account_id=each, amount=100) for each in ("alice", *guests)))
            made = books.do(*(Reserve(account_id=each, table_id="t9", amount=60) for each in guests))
            books.do(*(Commit(reservation_id=each.reservation_id) for each in made[:4]))
            books.do(*(Release(reservation_id=each.reservation_id) for each in made[4:5]))
            books.play_hands("t9", prefix=f"{evening}-")
            books.do(*(CashOut(account_id=each, table_id="t9", amount=70) for each in guests[:3]))

    auditors = [
        Auditing(real_store.backend(), sizes=Sizes(events=100, accounts=3, entries=60)),
        Auditing(real_store.backend(), sizes=Sizes(events=200, accounts=5, entries=90)),
    ]

    def keep_auditing(auditing: Auditing) -> None:
        for _ in range(3):
            auditing.slot()
            auditing.trim()

    playing = threading.Thread(target=keep_playing)
    audits = [threading.Thread(target=keep_auditing, args=(each,)) for each in auditors]
    playing.start()
    for thread in audits:
        thread.start()
    for thread in audits:
        thread.join()
    stop.set()
    playing.join()
    auditors[0].audit()
    assert auditors[0].kept() == []
    summary = read_summary(real_store.backend(), PARTITIONS)
    assert summary.entries > 200
    assert summary.last_full > 0
    assert summary.drift_chips == 0


def test_what_was_repaired_and_freed_stays_free_and_what_was_not_is_frozen_again(
    real_store: RealStore,
) -> None:
    """
    Given two accounts that were frozen, and freed by somebody: one after a repair
    If everything is verified again, twice
    Expect the repaired one free and its finding marked as gone, and the other one frozen again.
    """
    books, call = Books(real_store.backend()), real_store.backend().call
    write_half(books, NAMES)
    write_half(books, NAMES)
    auditing = Auditing(real_store.backend())
    whole = Victim(call, "victim").element(5)
    changed_amount(Victim(call, "victim"))
    changed_balance(Victim(call, "friend"))
    auditing.audit()
    assert frozen(call, NAMES) == {"victim", "friend"}
    Victim(call, "victim").put(5, whole)
    for name in ("victim", "friend"):
        free(call, name)
    auditing.audit()
    assert frozen(call, NAMES) == {"friend"}
    auditing.audit()
    auditing.audit()
    assert frozen(call, NAMES) == {"friend"}
    marks = {each.finding.account_id: each.is_open for each in auditing.kept()}
    assert marks == {"victim": False, "friend": True}


def free(call: Call, account_id: str) -> None:
    key = keys.account(partition_of(account_id, PARTITIONS), account_id)
    call("HSET", key, "status", "ACTIVE")
    call("HINCRBY", key, "revision", 1)


def test_a_frozen_account_takes_no_command_and_its_worker_learns_of_it(real_store: RealStore) -> None:
    """The worker that has the account in hand compares its revision, and finds it frozen."""
    books, call = Books(real_store.backend()), real_store.backend().call
    write_half(books, NAMES)
    write_half(books, NAMES)
    victim = Victim(call, "victim")
    victim.put(2, b"f" * 64 + victim.element(2)[64:])
    Auditing(real_store.backend()).audit()
    (answer,) = books.do(Deposit(account_id="victim", amount=1))
    assert answer.outcome is Outcome.ACCOUNT_FROZEN
    (answer,) = books.do(Deposit(account_id="friend", amount=1))
    assert answer.ok


def test_freezing_overwrites_no_change(real_store: RealStore) -> None:
    """
    Given an auditor that is about to freeze an account
    If a command changes that account just then
    Expect both: the change, and the account frozen on top of it.
    """
    books, line = Books(real_store.backend()), Slow(real_store.url)
    write_half(books, NAMES)
    write_half(books, NAMES)
    victim = Victim(line.call, "victim")
    victim.put(2, b"f" * 64 + victim.element(2)[64:])
    balance, revision = map(int, line.call("HMGET", victim.account, "balance", "revision"))
    line.before["commit", victim.account] = lambda: books.do(Deposit(account_id="victim", amount=7))
    Auditing(line).audit()
    after = line.call("HMGET", victim.account, "balance", "revision", "status")
    assert after == [b"%d" % (balance + 7), b"%d" % (revision + 2), b"FROZEN"]
    line.close()


def test_who_is_freed_while_an_audit_runs_is_not_frozen_by_it(real_store: RealStore) -> None:
    """
    Given a frozen account, which somebody frees between an auditor's reading and its writing
    Expect it free; the next one that reads it sees for itself.
    """
    books, line = Books(real_store.backend()), Slow(real_store.url)
    auditing = Auditing(line, hasty=True)
    auditing.audit()
    write_half(books, NAMES)
    write_half(books, NAMES)
    victim = Victim(line.call, "victim")
    changed_amount(victim)
    line.call("HSET", victim.account, "status", "FROZEN")
    line.before["read", keys.findings(victim.partition)] = lambda: free(line.call, "victim")
    auditing.slot(victim.partition)
    assert len(auditing.open()) == 1
    assert frozen(line.call, NAMES) == set()
    Auditing(line).audit()
    assert frozen(line.call, NAMES) == {"victim"}
    line.close()


def test_auditing_twice_changes_nothing(real_store: RealStore) -> None:
    """A finding that is met again is seen again: no second one, no second freezing."""
    books, call = Books(real_store.backend()), real_store.backend().call
    write_half(books, NAMES)
    write_half(books, NAMES)
    changed_amount(Victim(call, "victim"))
    auditing = Auditing(real_store.backend())
    auditing.audit()
    (first,) = auditing.kept()
    revision = call("HGET", Victim(call, "victim").account, "revision")
    auditing.audit()
    (again,) = auditing.kept()
    assert again.finding == first.finding
    assert again.first_seen == first.first_seen
    assert again.last_seen > first.last_seen
    assert call("HGET", Victim(call, "victim").account, "revision") == revision


def test_two_auditors_at_one_partition_leave_the_state_of_one(real_store: RealStore) -> None:
    """
    Given an auditor that has read its state, and is slow
    If another one does the same task meanwhile
    Expect the slow one to keep nothing: no entry is counted twice, and no total is doubted.
    """
    books = Books(real_store.backend())
    write_half(books, NAMES)
    line = Slow(real_store.url)
    quick, slow = Auditing(real_store.backend(), hasty=True), Auditing(line, hasty=True)
    quick.audit()
    write_half(books, NAMES)
    line.before["commit", keys.audit(partition_of("victim", PARTITIONS))] = quick.audit
    slow.audit()
    assert read_summary(real_store.backend(), PARTITIONS).entries == 3 * len(NAMES)
    write_half(books, NAMES)
    slow.audit()
    assert slow.kept() == []
    line.close()


class Slow(ValkeyBackend):
    """A line to the store over which something happens before the next read or commit of a key."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before: dict[tuple[str, str], Callable[[], object]] = {}

    def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        self._happen("read", plan)
        return super().read(plan)

    def commit(self, plan: Plan) -> list[int]:
        self._happen("commit", plan)
        return super().commit(plan)

    def _happen(self, call: str, plan: Plan) -> None:
        for key in plan.keys:
            self.before.pop((call, key), lambda: None)()


def test_a_backlog_is_worked_off_in_chunks(real_store: RealStore) -> None:
    """Entries of one hot account in far more events than are read at once, with a corruption at their end."""
    books, call = Books(real_store.backend()), real_store.backend().call
    auditing = Auditing(real_store.backend(), sizes=SMALL)
    auditing.audit()
    books.do(EnsureAccount(account_id="hot", initial_balance=5))
    for _ in range(5):
        books.do(*(Deposit(account_id="hot", amount=1) for _ in range(60)))
    write_half(books, NAMES)
    auditing.audit()
    assert auditing.kept() == []
    assert read_summary(real_store.backend(), PARTITIONS).checked > 0
    hot = keys.ledger(partition_of("hot", PARTITIONS), "hot", 0)
    element = call("LINDEX", hot, 200)
    call("LSET", hot, 200, element.replace(b'"amount":1,', b'"amount":2,'))
    auditing.audit()
    assert auditing.open() == [(What.ENTRY_ALTERED, hot, 200)]


def test_an_index_entry_without_a_reservation_is_taken_out(real_store: RealStore) -> None:
    """It is in the book, repaired; nobody is frozen for it."""
    books, call = Books(real_store.backend()), real_store.backend().call
    write_half(books, NAMES)
    expiry = keys.reservation_expiry(1)
    call("ZADD", expiry, 1_700_000_000_000, "001-forgotten")
    auditing = Auditing(real_store.backend(), hasty=True)
    auditing.audit()
    (kept,) = auditing.kept()
    assert (kept.finding.what, kept.finding.where) == (What.EXPIRY_DIFFERS, f"{expiry} 001-forgotten")
    assert (kept.repaired, kept.is_open) == (True, False)
    assert call("ZSCORE", expiry, "001-forgotten") is None
    assert frozen(call, NAMES) == set()


def test_a_table_without_chips_is_listed_no_more_until_it_has_some(real_store: RealStore) -> None:
    """
    Given a table that everybody has left, and one whose chips are all in a pot
    If an audit looks at them
    Expect the first one out of the index, unless chips come to it just then, and listed again with its next.
    """
    books, line = Books(real_store.backend()), Slow(real_store.url)
    home = partition_of("left", PARTITIONS)
    auditing = Auditing(line, hasty=True)
    write_half(books, NAMES)
    sit_down(books, "left")
    sit_down(books, "played")
    books.do(bet("played", "h", 1, "victim", 10))
    books.do(CashOut(account_id="victim", table_id="left", amount=10))
    auditing.audit()
    assert listed(line) == {"played"}
    sit_down(books, "left")
    assert listed(line) == {"left", "played"}
    books.do(CashOut(account_id="victim", table_id="left", amount=10))
    line.before["commit", keys.table_ids(home)] = lambda: sit_down(books, "left")
    auditing.audit()
    assert listed(line) == {"left", "played"}
    auditing.audit()
    assert auditing.kept() == []
    line.close()


def sit_down(books: Books, table_id: str) -> None:
    (hold,) = books.do(Reserve(account_id="victim", table_id=table_id, amount=10))
    books.do(Commit(reservation_id=hold.reservation_id))


def listed(line: ValkeyBackend) -> set[str]:
    """The tables in the indexes."""
    return {each for partition in range(PARTITIONS) for each in line.members(keys.table_ids(partition))}


def test_a_feed_that_was_lost_is_no_alarm(real_store: RealStore) -> None:
    """The totals are taken as they stand; what was lost is for the full pass."""
    books, call = Books(real_store.backend()), real_store.backend().call
    auditing = Auditing(real_store.backend(), hasty=True)
    write_half(books, NAMES)
    auditing.audit()
    write_half(books, NAMES)
    call("DEL", *map(keys.events, range(PARTITIONS)))
    write_half(books, NAMES)
    auditing.audit()
    write_half(books, NAMES)
    auditing.audit()
    assert auditing.kept() == []
    assert status_of(call, "victim") == "ACTIVE"


def test_the_feed_is_trimmed_when_all_readers_have_read_it(real_store: RealStore) -> None:
    """
    Given a feed that is longer than it need be, an auditor, and another reader
    Expect what the slower of them has not read to stay; one that is away for too long is dropped.
    """
    books, call = Books(real_store.backend()), real_store.backend().call
    home = partition_of("victim", PARTITIONS)
    write_half(books, ["victim"])
    third = call("XRANGE", keys.events(home), "-", "+")[2][0].decode()
    for _ in range(3):
        write_half(books, ["victim"])
    length = call("XLEN", keys.events(home))
    assert length == 16
    auditing = Auditing(real_store.backend(), hasty=True, kept=Kept(length=2, reader_ms=DAY_MS))
    now = auditing.store.read(Plan())[0]
    call("HSET", keys.readers(home), "projection", f"{third} {now}")
    auditing.audit()
    auditing.trim()
    assert call("XRANGE", keys.events(home), "-", "+", "COUNT", 1)[0][0].decode() == third
    call("HSET", keys.readers(home), "projection", f"{third} {now - DAY_MS - 1}")
    auditing.trim()
    assert call("HKEYS", keys.readers(home)) == [b"auditor"]
    assert call("XLEN", keys.events(home)) == 2
    auditing.audit()
    assert auditing.kept() == []
