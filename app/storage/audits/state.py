"""How far the audits of one partition have come: what is kept between two tasks, and how it is kept.

A state is replaced only by whoever has read it: a task that was done twice, or by two auditors at once,
leaves the state of one of them.
"""

from typing import NamedTuple, Protocol

import msgspec

from app.domain.accounts import NO_ENTRY
from app.domain.ledger import VERSION_FIELD
from app.services.faults import StoreRefused
from app.storage import keys
from app.storage.pictures import Records
from app.storage.plan import Plan

READER = "auditor"
"""The name under which audits read the event feed."""
MOST_DEFICITS = 20
"""Tables of a partition that are told by name, those with the largest deficits."""
LAST = "~"
"""Comes behind every account id."""


class AuditedStore(Records, Protocol):
    """The server as audits see it that run beside the service."""

    def commit(self, plan: Plan) -> list[int]:
        """Apply the plan's writes, all or nothing; the indexes of the checks that failed, [] when applied."""
        ...

    def members(self, name: str) -> "list[str]":
        """The members of a set, those that are there all the time at least; a long one is read in pages."""
        ...

    def page(self, cursor: str) -> tuple[str, list[str]]:
        """Some names of keys, and where to go on; it begins with "0", and is "0" again at the end."""
        ...

    def size(self) -> int:
        """How many keys there are."""
        ...


class Sizes(NamedTuple):
    """How much is done in one go: the server is kept from all else for about 10 µs an account and event.

    A step of a full pass reads so many accounts, or entries: about a second of an auditor.
    """

    events: int = 500
    accounts: int = 200
    entries: int = 20 * keys.SEGMENT_LENGTH


class Rules(NamedTuple):
    """How long a full pass takes, and from when on a pot is stuck (ms); how many partitions there are."""

    partitions: int
    period_ms: int
    stuck_pot_ms: int
    sizes: Sizes = Sizes()


class Slice(msgspec.Struct, omit_defaults=True):
    """The accounts that a full pass has visited in one go, up to this id.

    `position` is the last event before they were read, `seqs` their heads, for events are still to be read.
    """

    upto: str
    position: str
    seqs: dict[str, int]


class LongLedger(msgspec.Struct):
    """A ledger that takes several tasks: how far it was followed."""

    account_id: str
    seq: int
    checksum: str
    balance: int
    sums: dict[str, int]
    places: dict[str, int]


class FullPass(msgspec.Struct, omit_defaults=True):
    """A pass over all accounts of a partition, in the order of their ids.

    `tally` is what those visited add up to, with all that has changed since; `upto` the last of those whose
    visit the reading of events has passed.
    """

    started: int
    visited: int = 0
    upto: str = ""
    slices: list[Slice] = []
    tally: dict[str, int] = {}
    doubtful: list[str] = []
    ledger: LongLedger | None = None
    complete: bool = False

    @property
    def reached(self) -> str:
        """The last account visited."""
        return self.slices[-1].upto if self.slices else self.upto

    def counts_entry(self, account_id: str, seq: int) -> bool:
        """Whether an entry that is read now is to be added: its account was visited before it was there."""
        if account_id <= self.upto:
            return True
        visit = self._visit(account_id)
        return visit is not None and seq > visit.seqs.get(account_id, NO_ENTRY)

    def counts_event(self, account_id: str, position: str) -> bool:
        """The same of an event."""
        if account_id <= self.upto:
            return True
        visit = self._visit(account_id)
        return visit is not None and order_of(position) > order_of(visit.position)

    def pass_by(self, cursor: str) -> None:
        """All events up to here are read: what was visited before needs no comparison any more."""
        while self.slices and order_of(self.slices[0].position) <= order_of(cursor):
            self.upto = self.slices.pop(0).upto

    def add(self, names: dict[str, int]) -> None:
        """Add to the tally."""
        for name, amount in names.items():
            self.tally[name] = self.tally.get(name, 0) + amount

    def doubt(self, names: set[str]) -> None:
        """These totals cannot be recomputed in this pass."""
        self.doubtful = sorted({*self.doubtful, *names})

    def _visit(self, account_id: str) -> Slice | None:
        return next((each for each in self.slices if account_id <= each.upto), None)


class PartitionState(msgspec.Struct, omit_defaults=True):
    """What audits know of a partition.

    `cursor` is the last event that was read, `tally` what the totals must be there. `ahead` are the accounts
    whose ledgers were followed beyond it, with the seqs. `doubtful` are totals that are taken as they stand
    when all events are read.
    """

    v: int = VERSION_FIELD
    cursor: str | None = None
    tally: dict[str, int] = {}
    ahead: dict[str, int] = {}
    doubtful: list[str] = []
    full: FullPass | None = None


class Numbers(NamedTuple):
    """What a task leaves for metrics, beside its state. A number that is None stays as it was."""

    checked: int | None = None
    last_full: int | None = None
    entries: int = 0
    findings: int = 0
    chain_breaks: int = 0
    stuck_pots: int | None = None
    table_deficits: dict[str, int] | None = None


class StateKeeper:
    """Reads and replaces the state of one partition."""

    def __init__(self, store: AuditedStore, partition: int) -> None:
        self._store = store
        self._partition = partition
        self._revision = ""

    def load(self) -> tuple[int, PartitionState, int]:
        """The server's time, the state, and when the last complete full pass began (ms)."""
        plan = Plan()
        plan.read("HMGET", keys.audit(self._partition), "revision", "state", "lastFull")
        now, ((revision, raw, last_full),) = self._store.read(plan)
        self._revision = (revision or b"").decode()
        state = decode(raw, PartitionState) if raw else PartitionState()
        return now, state, int(last_full or 0)

    def save(self, state: PartitionState, now: int, numbers: Numbers) -> bool:
        """Replace the state that was loaded; False when another auditor was faster."""
        plan, key = Plan(), keys.audit(self._partition)
        plan.expect(key, "revision", self._revision)
        revision = str(int(self._revision or 0) + 1)
        plan.write("HSET", key, "revision", revision, "state", msgspec.json.encode(state).decode())
        for name, value in (
            ("checked", numbers.checked),
            ("lastFull", numbers.last_full),
            ("findings", numbers.findings),
            ("chainBreaks", numbers.chain_breaks),
            ("stuckPots", numbers.stuck_pots),
        ):
            if value is not None:
                plan.write("HSET", key, name, value)
        if (deficits := numbers.table_deficits) is not None:
            most = dict(sorted(deficits.items(), key=lambda each: -each[1])[:MOST_DEFICITS])
            plan.write("HSET", key, "tableDeficits", sum(deficits.values()))
            plan.write("HSET", key, "deficits", msgspec.json.encode(most).decode())
        plan.write("HINCRBY", key, "entries", str(numbers.entries))
        plan.write("HSET", keys.readers(self._partition), READER, f"{state.cursor or '0-0'} {now}")
        plan.write("HINCRBY", keys.META, "commits", 1)
        if self._store.commit(plan):
            return False
        self._revision = revision
        return True


def decode(raw: bytes, kind: "type[PartitionState]") -> PartitionState:
    """A kept state; raises StoreRefused where it cannot be read."""
    try:
        state = msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreRefused(f"the state of an audit cannot be read: {error}") from error
    if state.v != 1:
        raise StoreRefused(f"the state of an audit has unknown version {state.v}")
    return state


def order_of(position: str) -> tuple[int, int]:
    """A stream id as it sorts."""
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number or 0)
