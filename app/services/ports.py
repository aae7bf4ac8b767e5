"""The port to the store, as the execution of commands needs it: load, commit, mark."""

from dataclasses import dataclass, field
from typing import Protocol

from app.domain.pots import PotKey
from app.domain.requests import RefusalKey
from app.domain.state import State
from app.services.changes import Changes
from app.services.work import Delivery, Work


@dataclass(slots=True)
class Wanted:
    """Which records to load; each id once."""

    accounts: set[str] = field(default_factory=set)
    reservations: set[str] = field(default_factory=set)
    transactions: set[str] = field(default_factory=set)
    refusals: set[RefusalKey] = field(default_factory=set)
    entries: set[tuple[str, int]] = field(default_factory=set)
    seats: set[tuple[str, str]] = field(default_factory=set)
    pots: set[PotKey] = field(default_factory=set)
    answers: set[str] = field(default_factory=set)
    dead_letters: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


@dataclass(slots=True)
class CommitResult:
    """What became of a commit: applied, or every comparison that failed. Nothing is applied in part.

    `lost` are partitions whose epoch is not ours any more; `conflict` says that a record was not as loaded.
    """

    lost: frozenset[int] = frozenset()
    conflict: bool = False

    @property
    def applied(self) -> bool:
        """True when everything was written."""
        return not self.lost and not self.conflict


class Store(Protocol):
    """Records by domain ids. Raises StoreUnavailable (unknown) or StoreRefused (wrote nothing)."""

    def load(self, wanted: Wanted, state: State) -> int:
        """Fill the state with what is wanted, in one consistent read; the server's time in ms.

        Accounts come with their holds. An account whose last ledger entry is not the one it names comes
        FROZEN, and is put in `state.broken`; in `state.unsound` where it was frozen before.
        """
        ...

    def commit(self, changes: Changes, deliveries: list[Delivery], now: int) -> CommitResult:
        """Write the changes, the answers of the finished deliveries and their removal, all or nothing."""
        ...

    def mark_trying(self, work: Work) -> int | None:
        """Note that a command is about to be tried alone; how many owners have tried it, or None if not ours.

        0 where that is known already: a later one was tried, or this owner has tried it before.
        """
        ...
