"""Batches of payouts: what is kept of one, what can be asked of it, and the port to where it is kept."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from app.domain.ledger import VERSION_FIELD
from app.services.tracking import ItemFailure, Status


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as a whole. `content` is the hash of its lines, the last of them being
    `last_line`; `total` in chips, times in ms since the epoch.

    `sent` counts by partition the items that are queued; nothing more is, once it was cancelled.
    """

    v: int = VERSION_FIELD
    batch_id: str
    content: str
    items: int
    total: int
    last_line: int
    created_at: int = 0
    submitted_by: str = ""
    cancelled_at: int = 0
    sent: Mapping[int, int] = {}

    @property
    def cancelled(self) -> bool:
        """True when nothing more of it is sent."""
        return self.cancelled_at > 0


class Counts(NamedTuple):
    """How many lines are where, of those that are settled."""

    applied: int = 0
    replayed: int = 0
    refused: int = 0
    parked: int = 0


class BatchView(NamedTuple):
    """A batch as it stands; a brief view says how many are `settled`, and not how."""

    manifest: Manifest
    settled: int
    counts: Counts = Counts()

    @property
    def sent(self) -> int:
        """How many items were queued so far."""
        return sum(self.manifest.sent.values())

    @property
    def finished(self) -> bool:
        """True when nothing more will happen by itself: all is settled that was, or will be, sent."""
        due = self.sent if self.manifest.cancelled else self.manifest.items
        return self.settled >= due


class SettledItem(NamedTuple):
    """A line that has its outcome; `failure` says why it was not paid."""

    line: int
    status: Status
    failure: ItemFailure | None


@dataclass(slots=True, frozen=True)
class Chunk:
    """Items of one partition in one message, and how many of that partition were sent before them."""

    partition: int
    offset: int
    count: int
    message: str


class BatchStore(Protocol):
    """Where batches are kept. All raise Unavailable when the store is away.

    What writes raises Unavailable or Overloaded when nothing was written, StoreUnavailable when that is not
    known.
    """

    async def open(self, manifest: Manifest) -> tuple[Manifest, bool]:
        """Keep the manifest unless there is one of that id; the one that is there now, and if it is new."""
        ...

    async def send(self, manifest: Manifest, chunks: list[Chunk]) -> bool:
        """Queue the chunks and note that they were sent, in one atomic write.

        Those of one partition follow each other without a gap.

        False, and nothing was written, where another sender was faster or the batch was cancelled.
        """
        ...

    async def settled(self, batch_id: str, partitions: Collection[int]) -> Mapping[int, int]:
        """How many items of each partition have their outcome."""
        ...

    async def manifest(self, batch_id: str) -> Manifest | None:
        """The manifest as it is now; None when there is no such batch."""
        ...

    async def view(self, batch_id: str, *, brief: bool = False) -> BatchView | None:
        """The batch as it is now; None when there is none. A brief view costs little, however large it is."""
        ...

    async def items(
        self, batch_id: str, *, after: int, limit: int, failed: bool
    ) -> tuple[list[SettledItem], int]:
        """Settled lines behind line `after`, in order; and the line up to which it was looked, 0 at the end.

        With `failed` only those that were not paid.
        """
        ...

    async def cancel(self, batch_id: str) -> Manifest | None:
        """Let nothing more of it be sent, if there is more; the manifest as it is then."""
        ...
