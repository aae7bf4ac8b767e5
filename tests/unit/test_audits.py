"""The rules of audits by a clock that the tests turn: pace, passes, notices, retention; on the twin."""

from itertools import count

import pytest

from app.domain.commands import CancelPot, Deposit
from app.services.audits import AuditTask, Work
from app.services.verification import KeptFinding, What
from app.storage import keys
from app.storage.audits import repairs
from app.storage.audits.book import FindingsBook
from app.storage.audits.passes import share_due
from app.storage.audits.retention import Kept, register
from app.storage.audits.state import LAST, FullPass, Rules, Sizes, Slice
from app.storage.audits.summary import AuditSummary, read_summary
from app.storage.audits.tasks import StoreAudits
from app.storage.backends.memory import MemoryBackend, MemoryServer
from tests.support.books import PARTITIONS, Books, bet
from tests.support.playing_fields import TwinRecords

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.mark.parametrize(
    ("accounts", "elapsed", "due"),
    [
        (23, 0, 0),
        (23, 1, 1),
        (23, HOUR_MS, 1),
        (23, HOUR_MS + 1, 2),
        (23, 12 * HOUR_MS, 12),
        (23, DAY_MS, 24),
        (23, 9 * DAY_MS, 24),
        (0, 1, 1),
    ],
)
def test_a_pass_has_to_have_visited_its_share(accounts: int, elapsed: int, due: int) -> None:
    """Evenly over its period; the one account too many is how its end is found."""
    assert share_due(accounts, elapsed, DAY_MS) == due


VISITED = FullPass(
    started=0, upto="d", slices=[Slice("h", "5-0", {"e": 7, "g": -1}), Slice(LAST, "9-0", {"x": 2})]
)


@pytest.mark.parametrize(
    ("account_id", "seq", "counts"),
    [("a", 0, True), ("e", 7, False), ("e", 8, True), ("f", 0, True), ("g", 1, True), ("x", 2, False)],
    ids=["visited long ago", "visited with it", "behind", "opened behind", "its first", "in the last slice"],
)
def test_an_entry_counts_when_its_account_was_visited_before(account_id: str, seq: int, counts: bool) -> None:
    """What a pass adds up is of many moments; this brings it to one."""
    assert VISITED.counts_entry(account_id, seq) is counts
    assert FullPass(started=0, upto="d").counts_entry("e", 1) is False


@pytest.mark.parametrize(
    ("account_id", "position", "counts"),
    [("d", "1-0", True), ("e", "5-0", False), ("e", "5-1", True), ("z", "10-0", True), ("z", "9-0", False)],
)
def test_an_event_counts_when_its_account_was_visited_before(
    account_id: str, position: str, counts: bool
) -> None:
    """Positions sort as numbers."""
    assert VISITED.counts_event(account_id, position) is counts


def test_what_was_visited_before_all_events_were_read_needs_no_comparison() -> None:
    """Slices that the reading has passed become one."""
    full = FullPass(started=0, slices=[Slice("h", "5-0", {}), Slice("p", "12-0", {})])
    full.pass_by("9-9")
    assert (full.upto, len(full.slices), full.reached) == ("h", 1, "p")


class Night:
    """A store on the twin with accounts, an auditor, and a clock that stands until it is turned."""

    def __init__(self, *, length: int = 1_000) -> None:
        self.server = MemoryServer()
        self.books = Books(MemoryBackend(self.server))
        self.store = TwinRecords(self.server)
        rules = Rules(PARTITIONS, DAY_MS, HOUR_MS, Sizes(accounts=5))
        ticks = count(0, 0.000_1)
        self._audits = StoreAudits(self.store, rules, Kept(length, DAY_MS), lambda: next(ticks))

    def audit(self) -> None:
        for partition in range(PARTITIONS):
            self._audits.carry_out(AuditTask(work=Work.PARTITION, partition=partition))
        self._audits.carry_out(AuditTask(work=Work.STORE))

    def trim(self) -> None:
        self._audits.carry_out(AuditTask(work=Work.RETENTION))

    def hours(self, hours: float) -> None:
        """Let time go by, an audit every half hour."""
        for _ in range(int(hours * 2)):
            self.server.now += HOUR_MS // 2
            self.audit()

    @property
    def summary(self) -> AuditSummary:
        return read_summary(self.store, PARTITIONS)

    def kept(self) -> list[KeptFinding]:
        book = FindingsBook(self.store, PARTITIONS)
        return [each for place in (None, *range(PARTITIONS)) for each in book.read(place)]


def test_a_full_pass_is_spread_over_its_period() -> None:
    """
    Given forty accounts with an entry each, and a pass a day
    Expect about half of them read again after half a day, all after a day, and then the next pass.
    """
    night = Night()
    night.audit()
    night.books.do(*(Deposit(account_id=f"guest-{each}", amount=5) for each in range(40)))
    night.audit()
    before = night.summary.entries
    assert before >= 40
    night.hours(12)
    assert 12 <= night.summary.entries - before <= 24
    assert night.summary.last_full == 0
    began = night.server.now - 12 * HOUR_MS
    night.hours(13)
    assert abs(night.summary.last_full - began) <= HOUR_MS
    assert night.summary.entries - before >= 40
    night.hours(25)
    assert night.summary.last_full - began >= DAY_MS
    assert night.kept() == []


def test_a_pot_is_stuck_after_its_time_and_no_longer_when_it_has_ended() -> None:
    """It is shown, and counted apart: it says nothing of wrong records."""
    night = Night()
    night.books.do(*(Deposit(account_id=each, amount=50) for each in ("alice", "bob")))
    night.books.do(bet("t", "h", 1, "alice", 10), bet("t", "h", 2, "bob", 10))
    night.audit()
    night.server.now += HOUR_MS
    night.audit()
    assert (night.summary.stuck_pots, night.kept()) == (0, [])
    night.server.now += 1
    night.audit()
    assert [each.finding.what for each in night.kept()] == [What.POT_STUCK]
    assert (night.summary.stuck_pots, night.summary.findings) == (1, 0)
    night.books.do(CancelPot(table_id="t", hand_id="h"))
    night.server.now += 1
    night.audit()
    assert [each.is_open for each in night.kept()] == [False]
    assert night.summary.stuck_pots == 0


def test_a_finding_is_gone_when_passes_over_everything_have_not_met_it() -> None:
    """Not before, though it is not to be seen: it may lie in what was not read yet. It stays in the book."""
    night = Night()
    night.books.play()
    night.audit()
    totals = night.server.value(keys.totals(0))
    right, totals["CHIPS|type|DEPOSIT"] = totals["CHIPS|type|DEPOSIT"], b"1"
    night.server.now += 1
    night.audit()
    assert [each.is_open for each in night.kept()] == [True]
    night.server.value(keys.totals(0))["CHIPS|type|DEPOSIT"] = right
    night.hours(20)
    assert [each.is_open for each in night.kept()] == [True]
    night.hours(40)
    (kept,) = night.kept()
    assert kept.cleared > kept.last_seen >= kept.first_seen
    assert night.summary.findings == 0


def test_a_total_that_is_wrong_is_no_chip_made(caplog: pytest.LogCaptureFixture) -> None:
    """The supply is judged by the records: one finding, no drift, and one alarm, not one each interval."""
    night = Night()
    night.books.play()
    night.audit()
    totals = night.server.value(keys.totals(0))
    totals["CHIPS|type|DEPOSIT"] = b"%d" % (int(totals["CHIPS|type|DEPOSIT"]) + 7)
    for _ in range(3):
        night.server.now += 1
        night.audit()
    assert [each.finding.what for each in night.kept()] == [What.TOTAL_DIFFERS]
    assert (night.summary.findings, night.summary.drift_chips) == (1, 0)
    assert sum("ALARM" in line for line in caplog.messages) == 1


def test_chips_that_nobody_brought_are_a_drift() -> None:
    """Put on a table by hand, with its total: each partition agrees with itself, the store has too many."""
    night = Night()
    night.books.play()
    night.audit()
    home = next(each for each in range(PARTITIONS) if night.server.value(keys.table(each, "t1")))
    for key, name in (
        (keys.table(home, "t1"), keys.in_play_field("eve")),
        (keys.totals(home), "CHIPS|inPlay"),
    ):
        fields = night.server.value(key)
        fields[name] = b"%d" % (int(fields.get(name, 0)) + 9)
    night.audit()
    assert [each.finding.what for each in night.kept()] == [What.SUPPLY_DIFFERS]
    assert (night.summary.findings, night.summary.drift_chips) == (1, 9)


def test_what_waits_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The oldest message, the dead letters and the chips in them."""
    night = Night()
    arrived = night.server.now
    night.store.append([((2, "bulk"), "x")])  # type: ignore[list-item]
    night.server.now += 5_000
    night.store.append([((1, "bulk"), "y")])  # type: ignore[list-item]
    for number, amount in enumerate((70, 5)):
        letters = night.server.data.setdefault(keys.dead_letters(number), {})
        letters["id"] = b'{"v":1,"amount":%d,"raw":"..."}' % amount
    night.audit()
    summary = night.summary
    assert (summary.oldest_message, summary.dead_letters, summary.chips_at_stake) == (arrived, 2, 75)
    assert caplog.messages == []


def test_an_audit_forgets_so_many_tables_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a store has heaped up goes in steps."""
    monkeypatch.setattr(repairs, "MOST_TABLES", 2)
    night, index = Night(), keys.table_ids(1)
    night.server.data[index] = {f"t{number}" for number in range(5)}
    left = []
    for _ in range(4):
        night.audit()
        left.append(len(night.server.value(index) or ()))
    assert left == [3, 1, 0, 0]
    assert night.kept() == []


def test_a_reader_that_is_away_for_too_long_is_dropped_with_an_alarm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Given a feed beyond its length, which a reader has not read
    Expect it to stay until the reader is dropped; the audits, which have read it, keep nothing back.
    """
    night = Night(length=3)
    night.books.do(*(Deposit(account_id="alice", amount=1) for _ in range(20)))
    home = next(each for each in range(PARTITIONS) if night.server.value(keys.events(each)))
    register(night.store, home, "projection", "0-0")
    night.audit()
    night.trim()
    assert len(night.server.value(keys.events(home)).order) == 20
    night.server.now += DAY_MS
    night.audit()
    night.trim()
    assert len(night.server.value(keys.events(home)).order) == 20
    night.server.now += 1
    night.trim()
    assert len(night.server.value(keys.events(home)).order) == 3
    assert [line for line in caplog.messages if "ALARM" in line] == [
        f"ALARM reader projection of feed {home:03d} is dropped: it was away for too long"
    ]
