"""The port to the partitioned queue: streams by partition and lane, and who owns which partition."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.services.faults import Unavailable


class Lane(StrEnum):
    """The two queues of a partition: callers that wait, and jobs that can."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


Stream = tuple[int, Lane]
"""One queue: partition and lane."""


@dataclass(slots=True, frozen=True)
class Entry:
    """One entry of a stream: its id `MS-SEQ`, its arrival by the server's clock, and its payload."""

    entry_id: str
    payload: bytes

    @property
    def arrived_at(self) -> int:
        """When it was appended, in ms since the epoch by the server's clock."""
        return int(self.entry_id.partition("-")[0])


@dataclass(slots=True, frozen=True)
class Lease:
    """A partition just acquired. `clean` when its last owner handed it over, or it never had one.

    `last_time` is the time of the partition's last commit (ms since the epoch).
    """

    partition: int
    epoch: int
    clean: bool
    last_time: int


class PartitionQueue(Protocol):
    """What owners of partitions need. Raises StoreUnavailable (unknown) or StoreRefused (not applied)."""

    def append(self, messages: list[tuple[Stream, str]]) -> list[str]:
        """Append messages in one round trip; their entry ids."""
        ...

    def take(self, cursors: dict[Stream, str], count: int, block_ms: int) -> dict[Stream, list[Entry]]:
        """Entries behind each stream's cursor, up to `count` a stream.

        Waits up to `block_ms` when there are none; 0 waits not at all. Taking removes nothing: only a commit
        does.
        """
        ...

    def acquire(
        self, worker: str, partitions: list[int], lease_ms: int, most: int
    ) -> tuple[int, list[Lease]]:
        """Take up to `most` free or lapsed partitions; the server's time (ms) and what was taken."""
        ...

    def renew(self, worker: str, epochs: dict[int, int], lease_ms: int) -> tuple[list[int], list[str]]:
        """Renew partitions by their epochs; those that are lost, and the ids of all workers alive."""
        ...

    def release(self, worker: str, epochs: dict[int, int], *, leave: bool) -> None:
        """Hand partitions over cleanly; `leave` also signs the worker off."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class CommandLog(Protocol):
    """What a front end needs of the queue, for asyncio."""

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        """Append messages in one round trip; for each, why it was certainly not appended, or None.

        Raises Unavailable when certainly none was appended, StoreUnavailable when that is not known.
        """
        ...

    async def has_room(self) -> bool:
        """False while the store's memory is too full to take new commands. Raises StoreUnavailable."""
        ...

    async def heed_ops(self, front_end: str) -> bool:
        """Tell ops that this front end is alive; True while they have paused the service.

        Raises Unavailable or StoreUnavailable.
        """
        ...

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        """Answers for this front end behind the cursor, of many the first ones; waits when there are none."""
        ...
