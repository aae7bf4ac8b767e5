"""The whole service at a glance, as ops see it: who works, what waits, what is parked, do chips add up."""

from typing import Protocol

import msgspec

from app.services.stops import Stop
from app.services.verification import Supply


class WorkerShare(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A worker that is alive, and how many partitions it owns."""

    worker: str
    partitions: int


class LaneState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What waits in one lane of all partitions: messages, how old the oldest is (ms), and where it waits."""

    lane: str
    messages: int
    oldest_ms: int = 0
    oldest_partition: int = -1


class Leader(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who leads the schedulers, "" when nobody does, and since when (ms since the epoch)."""

    name: str = ""
    since: int = 0


class Parked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Dead letters: how many, the chips they are about, when the oldest was parked (ms since the epoch)."""

    count: int = 0
    chips: int = 0
    oldest: int = 0


class PauseView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who has paused the service, why, and when (ms since the epoch)."""

    by: str
    why: str
    at: int


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The service at one moment (`at`, ms since the epoch). `problems` say what ops should look at."""

    at: int
    partitions: int
    workers: list[WorkerShare]
    front_ends: list[str]
    unowned: list[int]
    lanes: list[LaneState]
    leader: Leader
    dead_letters: Parked
    stops: list[Stop]
    paused: PauseView | None
    supply: Supply

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, the gravest first."""
        found = []
        if self.supply.difference:
            found.append(f"the totals do not add up: {self.supply.difference:+} chips")
        if self.unowned:
            found.append(f"{len(self.unowned)} of {self.partitions} partitions have no owner")
        found += [f"worker {each.worker} takes no {each.kind}: {each.error}" for each in self.stops]
        if not self.front_ends:
            found.append("no front end takes commands")
        if not self.leader.name:
            found.append("no scheduler leads")
        if self.dead_letters.count:
            found.append(f"{self.dead_letters.count} dead letters wait")
        return found


class AccountLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An account in a list. Chips; `version` counts balance changes."""

    account_id: str
    balance: int
    reserved: int
    version: int
    status: str


class AccountPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of accounts; `next` is where the next one begins, "" behind the last."""

    accounts: list[AccountLine]
    next: str


class Overview(Protocol):
    """Reads for ops. Raises StoreUnavailable or StoreRefused."""

    def status(self) -> Status:
        """The service as it is now."""
        ...

    def accounts(self, after: str, limit: int, status: str = "") -> AccountPage:
        """Up to `limit` accounts behind a place, partition by partition; of one status where that is given.

        Raises ValueError when that is no place that a page named.
        """
        ...

    def house(self) -> list[AccountLine]:
        """The house accounts that there are."""
        ...
