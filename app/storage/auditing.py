"""The audit of a whole store: balances, ledgers, holds, indexes and totals, recomputed from the records.

It only reads, and may run beside a live service: what it compares was read at one moment, or only grows.
No call is long but a partition's picture. It must not run in an owner of partitions: commits would wait.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

from app.services.faults import StoreUnfit
from app.services.verification import (
    ACCOUNTS,
    ENTRIES,
    IN_PLAY,
    IN_POTS,
    TOTALS,
    Chain,
    Finding,
    Findings,
    Report,
    What,
    check_supply,
    check_total,
    differing,
    supply_of,
)
from app.storage import keys
from app.storage.answers import Answers
from app.storage.fitness import LAYOUT_VERSION, Caller
from app.storage.pictures import Picture, Records, take_picture, totals_of, whole
from app.storage.pot_checks import Pots
from app.storage.references import References
from app.storage.tallies import doubtful_totals, ledger_tally
from app.storage.walking import LedgerWalker, Walk

Progress = Callable[[str, int, int], None]
"""Told what is looked at, how many of these are done, and of about how many."""


def partitions_of(caller: Caller) -> int:
    """The number of partitions that a store was made with. Raises StoreUnfit where it is no store of ours."""
    layout, partitions = caller.call("HMGET", keys.META, "layout", "partitions")
    if layout is None or partitions is None:
        raise StoreUnfit("there are no accounts: the store was never used by the service")
    if layout.decode() != LAYOUT_VERSION:
        raise StoreUnfit(f"the store has layout {layout.decode()}; this release knows {LAYOUT_VERSION}")
    return int(partitions)


class Auditor:
    """One audit of one store, from its start to its report.

    Memory is bounded by the accounts of the largest partition, whatever the length of their ledgers.
    """

    def __init__(
        self, records: Records, partitions: int, on_progress: Progress = lambda _what, _done, _of: None
    ) -> None:
        self._records = records
        self._partitions = partitions
        self._on_progress = on_progress
        self._findings = Findings()
        self._walker = LedgerWalker(records, self._findings, self._count_entries)
        self._references = References(records, self._findings)
        self._pots = Pots(records, self._findings)
        self._tables: dict[int, set[str]] = defaultdict(set)
        self._broken: set[str] = set()
        self._beside_totals: Counter[str] = Counter()
        self._table_deficits = self._accounts = self._entries = self._transactions = self._expected = 0

    def run(self) -> Report:
        """Audit everything. Raises StoreUnavailable or StoreRefused when the store cannot be read."""
        self._expected = self._totals()[ENTRIES]
        self._find_tables()
        for partition in range(self._partitions):
            self.audit_partition(partition)
        self._references.check_transactions(self._broken, self._count_transactions)
        self._pots.check_all()
        Answers(self._records, self._findings).check_all()
        reservations = self._references.check_reservations()
        totals = self._totals()
        # What each partition's records had beside its totals, at its own moment, is carried to the one moment
        # of all totals: the equation holds while chips move from partition to partition.
        recomputed = {name: total + self._beside_totals[name] for name, total in totals.items()}
        supply = supply_of(recomputed, self._table_deficits)
        self._findings.add(check_supply(supply))
        findings = self._findings.all()
        return Report(
            ok=not findings,
            accounts=self._accounts,
            entries=self._entries,
            reservations=reservations,
            supply=supply,
            totals=supply_of(totals, self._table_deficits),
            findings=findings,
            omitted=self._findings.omitted,
        )

    def audit_partition(self, partition: int) -> list[Finding]:
        """Audit one partition, but for records that no index names; all findings so far."""
        picture = self._picture(partition)
        for account_id, why in picture.unreadable.items():
            where = keys.account(partition, account_id)
            self._findings.add(differing(What.ACCOUNT_UNREADABLE, where, account_id, why, account_id))
        accounts = picture.accounts.items()
        walks = [Walk(partition, account, Chain(account_id)) for account_id, account in accounts]
        self._walker.follow(walks)
        self._broken.update(walk.account.account_id for walk in walks if not walk.intact)
        self._references.check_holds(partition, picture)
        self._pots.check_listed(partition, picture)
        self._compare_totals(partition, picture, walks)
        self._accounts += len(picture.accounts)
        self._table_deficits += sum(picture.deficits.values())
        return self._findings.all()

    def _compare_totals(self, partition: int, picture: Picture, walks: list[Walk]) -> None:
        doubtful = doubtful_totals(picture, walks)
        if partition in self._pots.miscounted:
            doubtful.add(IN_POTS)
        tally = ledger_tally(picture, walks)
        tally[ACCOUNTS] = len(picture.accounts) + len(picture.unreadable)
        tally[IN_PLAY] = sum(picture.seats)
        tally[IN_POTS] = sum(picture.pots.values())
        for name in TOTALS:
            if name not in doubtful:
                self._findings.add(check_total(name, tally, picture.totals, keys.totals(partition)))
                self._beside_totals[name] += tally[name] - _number(picture.totals, name)

    def _picture(self, partition: int) -> Picture:
        """The partition with all its tables.

        A listing of tables that begins after the picture names every table that was in it; one is made when
        the chips in play do not add up.
        """
        while True:
            known = self._tables[partition].copy()
            picture = take_picture(self._records, partition, known)
            listed = (sum(picture.seats), sum(picture.pots.values()))
            if listed == (_number(picture.totals, IN_PLAY), _number(picture.totals, IN_POTS)):
                return picture
            self._find_tables()
            if self._tables[partition] == known:
                return picture

    def _find_tables(self) -> None:
        for names in self._records.scan(keys.TABLES):
            for place in filter(None, map(keys.place_in, names)):
                partition, table_id = place
                self._tables[partition].add(table_id)

    def _totals(self) -> Counter[str]:
        """The totals of the whole store at one moment."""
        sums = Counter(dict.fromkeys(TOTALS, 0))
        for totals in totals_of(self._records, self._partitions):
            sums.update({name: _number(totals, name) for name in TOTALS})
        return sums

    def _count_entries(self, entries: int) -> None:
        self._entries += entries
        self._on_progress("ledger entries", self._entries, self._expected)

    def _count_transactions(self, transactions: int) -> None:
        self._transactions += transactions
        self._on_progress("transaction records", self._transactions, self._entries)


def _number(totals: dict[str, str], name: str) -> int:
    return whole(totals.get(name, "0")) or 0
