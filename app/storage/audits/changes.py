"""What is new in a partition, checked: the entries and holds that its events tell of, the totals, its tables.

Nothing is kept of single accounts: an entry is checked against the one before it, which its checksum vouches
for, and the totals against what they were when the events were read last.
"""

from collections import Counter, defaultdict
from typing import NamedTuple

from app.domain.identifiers import is_house_id
from app.domain.ledger import LedgerEntry
from app.domain.reservations import HELD, Reservation
from app.services.faults import StoreRefused
from app.services.verification import (
    ACCOUNTS,
    BALANCES,
    ENTRIES,
    HELD_CHIPS,
    HOUSE,
    IN_PLAY,
    IN_POTS,
    OF_LEDGERS,
    Chain,
    Findings,
    What,
    check_total,
    differing,
    sum_of,
)
from app.storage import codec, keys
from app.storage.answers import Answers
from app.storage.audits.moments import Event, Moment, look
from app.storage.audits.state import AuditedStore, PartitionState, Sizes
from app.storage.pictures import whole
from app.storage.plan import Plan
from app.storage.pot_checks import Pots
from app.storage.references import References
from app.storage.walking import LedgerWalker, Walk

BY_EVENTS = frozenset({BALANCES, HOUSE, HELD_CHIPS, *OF_LEDGERS})
"""The totals that change only with an event."""
_OF_BALANCES = frozenset({BALANCES, HOUSE, *OF_LEDGERS})


class Checked(NamedTuple):
    """What a check of changes tells beside its findings.

    `whole`: everything that was new is checked. `frozen` were so when they were looked at. `starts` are those
    of the active pots, by name (ms), `deficits` the chips that each table has given without having them,
    `empty_tables` those that are listed and have no chips.
    """

    now: int
    whole: bool
    frozen: frozenset[str]
    starts: dict[str, int]
    deficits: dict[str, int]
    empty_tables: list[str]


class Changes:
    """Checks what is new in one partition and moves its state on."""

    def __init__(self, store: AuditedStore, partition: int, findings: Findings, sizes: Sizes) -> None:
        self.entries = 0
        self._sizes = sizes
        self._store = store
        self._partition = partition
        self._findings = findings
        self._walker = LedgerWalker(store, findings, self._count_entries)
        self._references = References(store, findings)
        self._pots = Pots(store, findings)

    def check(self, state: PartitionState) -> Checked:
        """Check the next events, or all that are left; the state is moved on."""
        if state.cursor is None:
            self._begin(state)
        moment = self._look(state)
        if moment.gap:
            state.full = None
            state.ahead = {}
            self._begin(state)
            moment = self._look(state)
        doubtful = self._check_accounts(moment, state) | self._check_holds(moment, state)
        state.doubtful = sorted({*state.doubtful, *doubtful})
        if state.full:
            state.full.doubt(doubtful)
        if moment.events:
            state.cursor = moment.events[-1].position
        if moment.whole:
            self._check_whole(moment, state)
        if state.full:
            state.full.pass_by(state.cursor or "0-0")
        accounts = moment.picture.accounts.values()
        return Checked(
            now=moment.now,
            whole=moment.whole,
            frozen=frozenset(each.account_id for each in accounts if each.frozen),
            starts={pot: moment.picture.starts.get(pot, moment.now) for pot in moment.picture.pots},
            deficits=moment.picture.deficits,
            empty_tables=moment.empty_tables,
        )

    def _look(self, state: PartitionState) -> Moment:
        most = self._sizes.events
        return look(self._store, self._partition, state.cursor or "0-0", state.ahead, most)

    def _begin(self, state: PartitionState) -> None:
        """Take the totals as they are: what was before is for the full pass."""
        plan = Plan()
        plan.read("HGETALL", keys.totals(self._partition))
        plan.read("XREVRANGE", keys.events(self._partition), "+", "-", "COUNT", 1)
        totals, last = self._store.read(plan)[1]
        texts = [part.decode(errors="replace") for part in totals]
        found = dict(zip(texts[::2], texts[1::2], strict=True))
        state.cursor = last[0][0].decode() if last else "0-0"
        state.tally = {name: whole(found.get(name, "0")) or 0 for name in BY_EVENTS}

    def _check_accounts(self, moment: Moment, state: PartitionState) -> set[str]:
        """Follow the new entries; the totals that cannot be recomputed from them."""
        partition, picture = self._partition, moment.picture
        for account_id, why in picture.unreadable.items():
            where = keys.account(partition, account_id)
            self._findings.add(differing(What.ACCOUNT_UNREADABLE, where, account_id, why, account_id))
        first, last = _seqs(moment.events, state.ahead)
        walks = []
        for account_id, account in picture.accounts.items():
            since = first.get(account_id, account.seq + 1)
            lengths = moment.lengths[account_id]
            walks.append(Walk(partition, account, Chain(account_id), since=since, lengths=lengths))
        self._walker.follow(walks, lambda walk, entries: _count(state, walk.account.account_id, entries))
        for walk in walks:
            ends = last.get(walk.account.account_id, walk.chain.seq)
            if walk.intact and walk.chain.seq < ends:
                where = walk.ledger(keys.segment_of(walk.chain.seq + 1))
                walk.intact = not self._findings.add(walk.chain.missing(where, ends))
        broken = bool(picture.unreadable) or not all(walk.intact for walk in walks)
        state.ahead = {} if moment.whole else {**state.ahead, **_heads(walks, last)}
        return set(_OF_BALANCES) if broken else set()

    def _check_holds(self, moment: Moment, state: PartitionState) -> set[str]:
        """The holds of the accounts, and what became of those that events name; what cannot be recomputed."""
        partition, picture = self._partition, moment.picture
        events = [each for each in moment.events if each.is_of_hold]
        names = [keys.reservation(partition, each.subject) for each in events]
        self._references.check_reservations_named(names)
        Answers(self._store, self._findings).check_named(names)
        ended = [(each.account_id, each.subject) for each in moment.events if each.is_of_pot]
        self._pots.check_named([keys.pot(partition, table_id, hand_id) for table_id, hand_id in ended])
        flawed = self._references.check_beside(partition, picture)
        if moment.whole:
            self._references.check_expiry(partition, picture, flawed)
        for event, raw in zip(events, self._store.many(names), strict=True):
            try:
                reservation = codec.reservation(raw)
            except StoreRefused:
                reservation = None
            if reservation is None:
                return {HELD_CHIPS}
            _count_hold(state, event, reservation)
        return set()

    def _check_whole(self, moment: Moment, state: PartitionState) -> None:
        """What must agree when no event is left: the totals and the tables."""
        self._pots.check_listed(self._partition, moment.picture)
        totals = moment.picture.totals
        for name in state.doubtful:
            state.tally[name] = whole(totals.get(name, "0")) or 0
        state.doubtful = []
        absolute = {
            ACCOUNTS: moment.accounts,
            IN_PLAY: sum(moment.picture.seats),
            IN_POTS: sum(moment.picture.pots.values()),
        }
        if self._partition in self._pots.miscounted:
            del absolute[IN_POTS]
        self._compare({**state.tally, **absolute}, totals)
        if state.full and state.full.complete:
            tally = {name: state.full.tally.get(name, 0) for name in BY_EVENTS}
            certain = {name: tally[name] for name in BY_EVENTS if name not in state.full.doubtful}
            self._compare(certain, totals)
            state.tally |= certain

    def _compare(self, tally: dict[str, int], totals: dict[str, str]) -> None:
        for name in sorted(tally):
            self._findings.add(check_total(name, tally, totals, keys.totals(self._partition)))

    def _count_entries(self, entries: int) -> None:
        self.entries += entries


def summed(account_id: str, entries: list[LedgerEntry]) -> Counter[str]:
    """What entries of an account add to the totals."""
    balances = HOUSE if is_house_id(account_id) else BALANCES
    sums: Counter[str] = Counter({ENTRIES: len(entries)})
    for entry in entries:
        sums[balances] += entry.amount
        sums[sum_of(entry.type)] += entry.amount
    return sums


def _count(state: PartitionState, account_id: str, entries: list[LedgerEntry]) -> None:
    _add(state.tally, summed(account_id, entries))
    if full := state.full:
        full.add(summed(account_id, [each for each in entries if full.counts_entry(account_id, each.seq)]))


def _count_hold(state: PartitionState, event: Event, reservation: Reservation) -> None:
    amount = reservation.amount if event.kind.endswith(HELD) else -reservation.amount
    _add(state.tally, {HELD_CHIPS: amount})
    if (full := state.full) and full.counts_event(event.account_id, event.position):
        full.add({HELD_CHIPS: amount})


def _add(tally: dict[str, int], names: dict[str, int]) -> None:
    for name, amount in names.items():
        tally[name] = tally.get(name, 0) + amount


def _seqs(events: list[Event], ahead: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """The first and the last new entry of each account."""
    seqs: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.is_entry and int(event.subject) > ahead.get(event.account_id, -1):
            seqs[event.account_id].append(int(event.subject))
    return {each: min(found) for each, found in seqs.items()}, {
        each: max(found) for each, found in seqs.items()
    }


def _heads(walks: list[Walk], named: dict[str, int]) -> dict[str, int]:
    """How far the ledgers were followed of which events told."""
    return {
        walk.account.account_id: max(walk.chain.seq, named[walk.account.account_id])
        for walk in walks
        if walk.account.account_id in named
    }
