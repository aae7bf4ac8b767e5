"""Follows ledgers to their heads, entry by entry, with what every entry must have: its record, its index.

Ledgers, transaction records and indexes only ever grow, so they are read in several calls, a bounded number
of entries in each, while the service goes on.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.domain.accounts import NO_ENTRY, Account
from app.domain.ledger import LedgerEntry, TransactionType
from app.services.faults import StoreRefused
from app.services.verification import (
    Chain,
    Finding,
    Findings,
    What,
    check_balance,
    check_head,
    check_index,
    check_transaction,
    differing,
)
from app.storage import codec, keys
from app.storage.pictures import Records, whole
from app.storage.plan import Plan

ROUND_COST = keys.SEGMENT_LENGTH
"""How much is in hand at once, counted in entries; at least one segment, which is always read whole."""
WALK_COST = 10
"""What an account costs beside its entries."""


@dataclass(slots=True)
class Walk:
    """One ledger on the way to the head that `account` names.

    `sums` are signed chips by type, `places` count the entries of a type: the next place in its index. With a
    chain, sums and places noted earlier it goes on from there.

    A walk `since` a seq follows only the entries from that one on. It needs `lengths`: how long the index of
    each type was when the account was read, for its entries are the last ones there.
    """

    partition: int
    account: Account
    chain: Chain
    sums: Counter[TransactionType] = field(default_factory=Counter)
    places: Counter[TransactionType] = field(default_factory=Counter)
    intact: bool = True
    since: int | None = None
    lengths: dict[TransactionType, int] = field(default_factory=dict)
    indexed: dict[TransactionType, list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def left(self) -> int:
        """How many entries are still ahead."""
        behind = max(self.chain.seq, (self.since or 0) - 1)
        return max(self.account.seq - behind, 0) if self.intact else 0

    @property
    def cost(self) -> int:
        """How much its next round reads, counted in entries."""
        return min(self.left, keys.SEGMENT_LENGTH) + WALK_COST

    @property
    def segment(self) -> int:
        """The segment in which the next entry stands."""
        return keys.segment_of(self.chain.seq + 1)

    def ledger(self, segment: int) -> str:
        return keys.ledger(self.partition, self.account.account_id, segment)

    def index(self, kind: TransactionType) -> str:
        return keys.transactions_of(self.partition, self.account.account_id, kind)


Step = tuple[Walk, list[LedgerEntry]]
Followed = Callable[[Walk, list[LedgerEntry]], None]
"""Told which entries of a walk were good, in their order."""


class LedgerWalker:
    """Takes walks to their end. `on_entries` is told how many entries were followed."""

    def __init__(self, records: Records, findings: Findings, on_entries: Callable[[int], None]) -> None:
        self._records = records
        self._findings = findings
        self._on_entries = on_entries

    def follow(self, walks: Iterable[Walk], on_followed: Followed = lambda _walk, _entries: None) -> None:
        """Follow every ledger to its head or to its first bad entry."""
        waiting = deque(walks)
        while waiting:
            together = _next_round(waiting)
            for walk, entries in self.go_on(together):
                on_followed(walk, entries)
            waiting.extendleft(walk for walk in together if walk.left)

    def go_on(self, walks: list[Walk]) -> list[Step]:
        """Follow each of these to the end of the segment it is in; the entries that were good."""
        self._anchor([walk for walk in walks if walk.since is not None and walk.chain.seq == NO_ENTRY])
        followed = self._follow([walk for walk in walks if walk.intact])
        self._check_transactions(followed)
        self._check_indexes(followed)
        self._check_ends([walk for walk in walks if walk.intact and not walk.left])
        self._on_entries(sum(len(entries) for _, entries in followed))
        return followed

    def _anchor(self, walks: list[Walk]) -> None:
        """Put each chain onto the entry before the first to be followed; before entry 1 there may be none."""
        behind = [walk for walk in walks if walk.since]
        before = [(walk.since or 0) - 1 for walk in behind]
        places = [
            (walk.ledger(keys.segment_of(seq)), *keys.places_of(seq))
            for walk, seq in zip(behind, before, strict=True)
        ]
        for walk, seq, elements in zip(behind, before, self._records.ranges(places), strict=True):
            where = walk.ledger(keys.segment_of(seq))
            walk.intact = not self._findings.add(walk.chain.stand_on(seq, elements, where))

    def _follow(self, walks: list[Walk]) -> list[Step]:
        places = [(walk.ledger(walk.segment), keys.places_of(walk.chain.seq + 1)[0], -1) for walk in walks]
        replies = self._records.ranges(places)
        return [(walk, self._follow_one(walk, found)) for walk, found in zip(walks, replies, strict=True)]

    def _follow_one(self, walk: Walk, elements: list[bytes]) -> list[LedgerEntry]:
        chain, segment, head = walk.chain, walk.segment, walk.account.seq
        where = walk.ledger(segment)
        last = min(head, (segment + 1) * keys.SEGMENT_LENGTH - 1)
        if elements and elements[0].startswith(chain.checksum.encode()):
            del elements[0]  # where a walk goes on, the entry it stands on is read once more
        entries: list[LedgerEntry] = []
        flaw: Finding | None = None
        for element in elements:
            if chain.seq >= last:
                break
            step = chain.follow(element, where)
            if isinstance(step, Finding):
                flaw = step
                break
            entries.append(step)
            walk.sums[step.type] += step.amount
        surplus = len(elements) - len(entries)
        if not flaw and chain.seq < last:
            flaw = chain.missing(where, head)
        elif not flaw and surplus and last < head:
            flaw = chain.surplus(where, surplus)
        walk.intact = not self._findings.add(flaw)
        return entries

    def _check_transactions(self, followed: list[Step]) -> None:
        names = [
            (entry, keys.transaction(walk.partition, entry.transaction_id))
            for walk, entries in followed
            for entry in entries
        ]
        raws = self._records.many([name for _, name in names])
        for (entry, name), raw in zip(names, raws, strict=True):
            try:
                record = codec.transaction(raw)
            except StoreRefused as refused:
                unreadable = Finding(
                    what=What.TRANSACTION_DIFFERS,
                    where=name,
                    account_id=entry.account_id,
                    seq=entry.seq,
                    expected=entry.entry_id,
                    found=str(refused),
                )
                self._findings.add(unreadable)
            else:
                self._findings.add(check_transaction(entry, record, name))

    def _check_indexes(self, followed: list[Step]) -> None:
        wanted, places = [], []
        for walk, entries in followed:
            seqs: dict[TransactionType, list[int]] = defaultdict(list)
            for entry in entries:
                seqs[entry.type].append(entry.seq)
            if walk.since is not None:
                _note(walk.indexed, seqs)
                seqs = walk.indexed if walk.intact and not walk.left else {}
                walk.places.update({kind: walk.lengths[kind] - len(found) for kind, found in seqs.items()})
            for kind, expected in seqs.items():
                first = walk.places[kind]
                places.append((walk.index(kind), first, first + len(expected) - 1))
                walk.places[kind] += len(expected)
                wanted.append((walk, kind, expected))
        for (walk, kind, expected), found in zip(wanted, self._records.ranges(places), strict=True):
            where = walk.index(kind)
            self._findings.add(check_index(walk.account.account_id, expected, [*map(whole, found)], where))

    def _check_ends(self, walks: list[Walk]) -> None:
        """The heads, and that nothing stands behind them. An account that has moved on cannot tell."""
        for walk in walks:
            self._check_head(walk)
        walks = [walk for walk in walks if walk.intact and walk.since is None]
        plan = Plan()
        for walk in walks:
            plan.read("HGET", keys.account(walk.partition, walk.account.account_id), "seq")
            plan.read("LLEN", walk.ledger(keys.segment_of(walk.account.seq)))
            for kind in TransactionType:
                plan.read("LLEN", walk.index(kind))
        replies = iter(self._records.read(plan)[1])
        for walk in walks:
            seq, length, *indexed = (next(replies) for _ in range(2 + len(TransactionType)))
            if seq == str(walk.account.seq).encode():
                self._check_lengths(walk, length, indexed)

    def _check_head(self, walk: Walk) -> None:
        account, chain = walk.account, walk.chain
        where = keys.account(walk.partition, account.account_id)
        walk.intact = not self._findings.add(check_head(chain, account, where))
        if walk.intact:
            self._findings.add(check_balance(chain, account, where))

    def _check_lengths(self, walk: Walk, length: int, indexed: list[int]) -> None:
        account_id, seq = walk.account.account_id, walk.account.seq
        segment = keys.segment_of(seq)
        first = max(seq + 1 - walk.places.total(), segment * keys.SEGMENT_LENGTH)
        if (surplus := length - (seq + 1 - first)) > 0:
            self._findings.add(walk.chain.surplus(walk.ledger(segment), surplus))
        for kind, found in zip(TransactionType, indexed, strict=True):
            expected = f"{walk.places[kind]} entries"
            self._findings.add(
                differing(What.INDEX_DIFFERS, walk.index(kind), expected, f"{found} entries", account_id)
            )


def _note(noted: dict[TransactionType, list[int]], seqs: dict[TransactionType, list[int]]) -> None:
    for kind, found in seqs.items():
        noted[kind] += found


def _next_round(waiting: deque[Walk]) -> list[Walk]:
    """Ledgers to be followed together, at least one."""
    together = [waiting.popleft()]
    cost = together[0].cost
    while waiting and (cost := cost + waiting[0].cost) <= ROUND_COST:
        together.append(waiting.popleft())
    return together
