"""The full pass over a partition: every account from its first entry on, some of them in each task.

Accounts are visited in the order of their ids. What they add up to is compared with the totals at the end,
with all that changed meanwhile: an event counts when its account had been visited before it.
"""

from bisect import bisect_right
from typing import NamedTuple

from app.domain.ledger import TransactionType
from app.services.verification import (
    Chain,
    Findings,
    What,
    differing,
)
from app.storage import codec, keys
from app.storage.audits.moments import event_of
from app.storage.audits.state import LAST, AuditedStore, FullPass, LongLedger, Sizes, Slice
from app.storage.pictures import Picture, picture_of
from app.storage.plan import Plan
from app.storage.references import References
from app.storage.tallies import doubtful_totals, ledger_tally
from app.storage.walking import LedgerWalker, Walk

_EVENTS_MEANWHILE = 1_000
"""More than can have been written between two calls."""


class Visited(NamedTuple):
    """Accounts at the moment at which they were read; `position` is the last event before it."""

    picture: Picture
    position: str


class Passing:
    """Takes one step of a full pass after the other."""

    def __init__(self, store: AuditedStore, partition: int, findings: Findings, sizes: Sizes) -> None:
        self.entries = 0
        self._sizes = sizes
        self._store = store
        self._partition = partition
        self._findings = findings
        self._walker = LedgerWalker(store, findings, self._count_entries)
        self._references = References(store, findings)

    def step(self, full: FullPass, most: int) -> frozenset[str]:
        """Visit up to `most` accounts; those of them that were frozen. The pass is moved on."""
        marker = self._last_event()
        ids = self._store.members(keys.account_ids(self._partition))
        begin = bisect_right(ids, full.reached)
        chosen = ids[begin : begin + min(most, self._sizes.accounts)]
        is_last = begin + len(chosen) >= len(ids)
        seqs = self._seqs(chosen)
        if len(fitting := _fitting(chosen, seqs, self._sizes.entries)) < len(chosen):
            chosen, is_last = fitting, False
        upto = LAST if is_last else chosen[-1]
        visited = self._visit(chosen, (full.reached, upto), marker)
        if self._follow(full, visited):
            heads = {each: account.seq for each, account in visited.picture.accounts.items()}
            full.slices.append(Slice(upto, visited.position, heads))
            full.visited += len(chosen)
            full.complete = is_last
        return frozenset(each.account_id for each in visited.picture.accounts.values() if each.frozen)

    def _visit(self, chosen: list[str], bounds: tuple[str, str], marker: str) -> Visited:
        """These accounts at one moment, with those that were opened among them since the marker."""
        after, upto = bounds
        names = list(chosen)
        while True:
            plan = Plan()
            start = "-" if marker == "0-0" else f"({marker}"
            plan.read("XRANGE", keys.events(self._partition), start, "+", "COUNT", _EVENTS_MEANWHILE)
            for account_id in names:
                plan.read("HMGET", keys.account(self._partition, account_id), *codec.ACCOUNT_FIELDS)
                plan.read("HGETALL", keys.holds(self._partition, account_id))
            raw, *pairs = self._store.read(plan)[1]
            events = [event_of(entry) for entry in raw]
            opened = {
                each.account_id
                for each in events
                if (each.is_entry or each.is_of_hold) and after < each.account_id <= upto
            }
            if len(events) < _EVENTS_MEANWHILE and opened <= set(names):
                position = events[-1].position if events else marker
                return Visited(picture_of(names, ([], [], []), {}, pairs), position)
            names = sorted({*names, *opened})
            if len(events) == _EVENTS_MEANWHILE:
                marker = events[-1].position

    def _follow(self, full: FullPass, visited: Visited) -> bool:
        """Follow the ledgers; False while one that is long is not at its end yet."""
        picture = visited.picture
        walks = [
            _resumed(Walk(self._partition, account, Chain(account.account_id)), full.ledger)
            for account in picture.accounts.values()
        ]
        if len(walks) == 1 and walks[0].left > self._sizes.entries:
            full.ledger = self._follow_long(walks[0])
            if full.ledger:
                return False
        else:
            self._walker.follow(walks)
        full.ledger = None
        self._check_beside(picture)
        full.add(ledger_tally(picture, walks))
        full.doubt(doubtful_totals(picture, walks))
        return True

    def _follow_long(self, walk: Walk) -> LongLedger | None:
        """Follow one ledger for a while; how far it came, None at its end."""
        until = walk.chain.seq + self._sizes.entries
        while walk.left and walk.chain.seq < until:
            self._walker.go_on([walk])
        chain = walk.chain
        if not walk.left:
            return None
        sums = {str(kind): chips for kind, chips in walk.sums.items()}
        places = {str(kind): count for kind, count in walk.places.items()}
        return LongLedger(chain.account_id, chain.seq, chain.checksum, chain.balance, sums, places)

    def _check_beside(self, picture: Picture) -> None:
        """What there is of accounts beside their ledgers."""
        partition = self._partition
        for account_id, why in picture.unreadable.items():
            where = keys.account(partition, account_id)
            self._findings.add(differing(What.ACCOUNT_UNREADABLE, where, account_id, why, account_id))
        self._references.check_beside(partition, picture)

    def _seqs(self, account_ids: list[str]) -> list[int]:
        """About how long the ledgers are."""
        plan = Plan()
        for account_id in account_ids:
            plan.read("HGET", keys.account(self._partition, account_id), "seq")
        found = self._store.read(plan)[1]
        return [int(seq) if seq and seq.isdigit() else 0 for seq in found]

    def _last_event(self) -> str:
        plan = Plan()
        plan.read("XREVRANGE", keys.events(self._partition), "+", "-", "COUNT", 1)
        (last,) = self._store.read(plan)[1]
        return last[0][0].decode() if last else "0-0"

    def _count_entries(self, entries: int) -> None:
        self.entries += entries


def share_due(accounts: int, elapsed_ms: int, period_ms: int) -> int:
    """How many accounts a pass has to have visited by now, so that it ends with its period.

    One more than there are when the period is over: that one finds the end.
    """
    return -(-(accounts + 1) * min(elapsed_ms, period_ms) // period_ms)


def _fitting(account_ids: list[str], seqs: list[int], most: int) -> list[str]:
    """The first of these whose entries are read in one step; one at least."""
    entries, count = 0, 0
    for seq in seqs:
        entries += seq
        if count and entries > most:
            break
        count += 1
    return account_ids[:count]


def _resumed(walk: Walk, ledger: LongLedger | None) -> Walk:
    """The walk, gone on with where its ledger was left."""
    if ledger and ledger.account_id == walk.account.account_id:
        walk.chain = Chain(ledger.account_id, ledger.seq, ledger.checksum, ledger.balance)
        walk.sums.update({TransactionType(kind): chips for kind, chips in ledger.sums.items()})
        walk.places.update({TransactionType(kind): count for kind, count in ledger.places.items()})
    return walk
