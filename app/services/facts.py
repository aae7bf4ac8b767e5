"""What is known of a whole store at one moment: for people who watch it, never for a decision."""

from dataclasses import dataclass, field
from typing import Protocol

from app.services.queue import Lane
from app.services.verification import Supply


@dataclass(slots=True, frozen=True)
class Owner:
    """Who owns a partition; `worker` is "" when nobody does, or its lease is over."""

    worker: str
    epoch: int


@dataclass(slots=True, frozen=True, kw_only=True)
class Audited:
    """What the audits have left: open findings, chips, and when (ms since the epoch, 0 for never)."""

    checked: int = 0
    last_full: int = 0
    findings: int = 0
    chain_breaks: int = 0
    drift_chips: int = 0
    stuck_pots: int = 0
    table_deficits: int = 0


@dataclass(slots=True, frozen=True, kw_only=True)
class StoreFacts:
    """One picture. Times in ms since the epoch by the store's clock, `oldest` 0 for an empty queue.

    `totals` are the store's own sums over all partitions, by name (see `app.services.verification`); `moved`
    are signed chips by transaction type. `slots` are the last ones done by job, `missed` those in which
    nobody led. `dead_chips` are what parked commands are about, as far as they were looked at. `stopped`
    counts kinds of commands that some worker takes no more; `paused` while ops have it so. `memory_limit` 0
    means none.
    """

    now: int
    commits: int
    owners: dict[int, Owner]
    waiting: dict[Lane, int]
    oldest: dict[Lane, int]
    totals: dict[str, int]
    moved: dict[str, int]
    supply: Supply
    reservations: int
    pots: int
    dead_letters: int
    dead_chips: int
    leader: str
    leader_epoch: int
    audited: Audited
    stopped: int = 0
    paused: bool = False
    slots: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    memory_used: int = 0
    memory_limit: int = 0


class Facts(Protocol):
    """Looks at the store."""

    def look(self) -> StoreFacts:
        """The store as it is now. Raises BalanceFault when it cannot be read."""
        ...
