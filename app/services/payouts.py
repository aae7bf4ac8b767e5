"""Sends batches of payouts: opens the batch, then queues it chunk by chunk, never more than a few at a time.

Where it stopped is kept with every chunk, so whoever submits the same lines again goes on from there.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

from app.domain.batches import MAX_LINE, Draft, Item
from app.domain.commands import Part, PayTogether
from app.domain.identifiers import is_caller_id
from app.domain.validation import MAX_PARTS
from app.services.batches import BatchStore, BatchView, Chunk, Manifest, SettledItem
from app.services.faults import Interrupted, Overloaded, StoreUnavailable, Unavailable
from app.services.tracking import Seal, Track, Tracked

CHUNK_ITEMS = 32
"""In one message. A unit of callers takes one with it, and they wait for it; larger ones are no faster."""
CHUNKS_AT_FIRST, CHUNKS_AT_MOST = 16, 128
"""On their way at any moment: few, so that the store's memory stays flat, and the worker after a dead one has
little to look at closely; some more whenever the workers had nothing left to do, for there may be many."""
CHUNKS_IN_PARTITION = 4
LOOK_SECONDS = 0.01
_TOGETHER = "together"
DRAFTS_AT_ONCE = 4
"""Batches held in one front end: the largest takes about 150 MB while it is sent."""
PAGE_LINES = 500


class BatchRefusal(StrEnum):
    """Why a batch was not taken."""

    INVALID_BATCH = "INVALID_BATCH"
    BATCH_ID_REUSED = "BATCH_ID_REUSED"
    BATCH_CANCELLED = "BATCH_CANCELLED"


class SubmittedBatch(NamedTuple):
    """What became of a submission. `view` is there unless it was refused or only looked at."""

    batch_id: str
    refusal: BatchRefusal | None = None
    view: BatchView | None = None


class Payouts:
    """The use case. `admit` raises Unavailable or Overloaded while no command may be queued."""

    def __init__(self, store: BatchStore, seal: Seal, *, partitions: int, admit: Callable[[], None]) -> None:
        self._store = store
        self._drafts = 0
        self._seal = seal
        self._partitions = partitions
        self._admit = admit

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """An empty batch, to put lines into. Raises Overloaded while too many are held here already."""
        if self._drafts >= DRAFTS_AT_ONCE:
            raise Overloaded("too many batches at once")
        self._drafts += 1
        try:
            yield Draft(self._partitions)
        finally:
            self._drafts -= 1

    async def submit(
        self,
        draft: Draft,
        batch_id: str = "",
        *,
        submitted_by: str = "",
        dry_run: bool = False,
        all_or_nothing: bool = False,
    ) -> SubmittedBatch:
        """Queue a draft that is finished; returns when all of it is queued, or it was cancelled.

        Raises Interrupted when the store, or the queue, was away in between; Overloaded or Unavailable when
        nothing was queued. A dry run only looks whether the batch would be taken. All or nothing, it is one
        command, of accounts of one partition.
        """
        if all_or_nothing:
            _check_together(draft)
        batch_id = batch_id or draft.derived_id
        if draft.problems:
            return SubmittedBatch(batch_id, BatchRefusal.INVALID_BATCH)
        wanted = Manifest(
            batch_id=batch_id,
            content=f"{draft.content} {_TOGETHER}" if all_or_nothing else draft.content,
            items=draft.count,
            total=draft.total,
            last_line=draft.last_line,
            submitted_by=submitted_by,
        )
        if dry_run:
            found = await self._store.manifest(batch_id) or wanted
            return SubmittedBatch(batch_id, _refusal(found, wanted))
        self._admit()
        try:
            manifest, _ = await self._store.open(wanted)
            refusal = _refusal(manifest, wanted)
            if refusal is None and all_or_nothing:
                await self._send_together(draft, manifest)
            elif refusal is None:
                await self._send(draft, manifest)
            view = None if refusal is BatchRefusal.BATCH_ID_REUSED else await self._store.view(batch_id)
        except (Unavailable, StoreUnavailable, Overloaded) as away:
            raise Interrupted(str(away)) from away
        if refusal is None and view is not None and view.manifest.cancelled and view.sent < draft.count:
            refusal = BatchRefusal.BATCH_CANCELLED
        return SubmittedBatch(batch_id, refusal, view)

    async def view(self, batch_id: str, *, brief: bool = False) -> BatchView | None:
        """The batch as it stands; None when there is none. Raises Unavailable."""
        return await self._store.view(batch_id, brief=brief) if is_caller_id(batch_id) else None

    async def items(
        self, batch_id: str, *, after: int = 0, failed: bool = False
    ) -> tuple[list[SettledItem], int] | None:
        """A page of settled lines behind line `after`, and behind which the next one is, 0 at the end.

        None when there is no such batch.
        """
        if not is_caller_id(batch_id) or await self._store.manifest(batch_id) is None:
            return None
        after = min(max(after, 0), MAX_LINE)
        return await self._store.items(batch_id, after=after, limit=PAGE_LINES, failed=failed)

    async def cancel(self, batch_id: str) -> BatchView | None:
        """Have nothing more of it queued; None when there is none. Raises Interrupted when unknown."""
        if not is_caller_id(batch_id):
            return None
        try:
            found = await self._store.cancel(batch_id)
            return await self._store.view(batch_id) if found else None
        except StoreUnavailable as unknown:
            raise Interrupted(str(unknown)) from unknown

    async def _send(self, draft: Draft, manifest: Manifest | None) -> None:
        """Queue what is not queued yet, as what is on its way gets settled."""
        progress = _Progress(draft, manifest)
        while manifest is not None and not manifest.cancelled and progress.unsent:
            self._admit()
            progress.settled |= await self._store.settled(manifest.batch_id, progress.busy)
            chunks = [self._chunk(manifest.batch_id, *each) for each in progress.next_chunks()]
            if not chunks:
                await asyncio.sleep(LOOK_SECONDS)
            elif await self._store.send(manifest, chunks):
                progress.note(chunks)
            else:
                manifest = await self._store.manifest(manifest.batch_id)
                progress = _Progress(draft, manifest)

    async def _send_together(self, draft: Draft, manifest: Manifest) -> None:
        """Queue all of it as one command."""
        if manifest.sent:
            return
        ((partition, items),) = draft.items.items()
        parts = [
            Part(
                line=item.line,
                key=item.key_in(manifest.batch_id),
                account_id=item.payout.account_id,
                amount=item.payout.amount,
                type=item.payout.type,
                reason=item.payout.reason,
            )
            for item in items
        ]
        command = PayTogether(batch_id=manifest.batch_id, parts=tuple(parts))
        track = Track(batch_id=manifest.batch_id)
        message = self._seal([Tracked(command, "", manifest.batch_id, track)], manifest.batch_id)
        await self._store.send(manifest, [Chunk(partition, 0, len(items), message)])

    def _chunk(self, batch_id: str, partition: int, offset: int, items: list[Item]) -> Chunk:
        tracked = [
            Tracked(
                command=item.payout,
                key=item.key_in(batch_id),
                command_id=f"{batch_id}#{item.line}",
                track=Track(batch_id=batch_id, line=item.line),
            )
            for item in items
        ]
        message = self._seal(tracked, f"{batch_id}#{items[0].line}")
        return Chunk(partition, offset, len(items), message)


class _Progress:
    """How far the sending of a batch is: by partition what was sent, and what of it is settled."""

    def __init__(self, draft: Draft, manifest: Manifest | None) -> None:
        self.sent = dict(manifest.sent) if manifest else {}
        self.settled: dict[int, int] = {}
        self._items = draft.items
        self._next = dict.fromkeys(draft.items)  # in order; a partition leaves when all of it is sent
        self._most = CHUNKS_AT_FIRST

    @property
    def unsent(self) -> bool:
        """True while there is something to send."""
        for partition in [each for each in self._next if self._left(each) <= 0]:
            del self._next[partition]
        return bool(self._next)

    @property
    def busy(self) -> list[int]:
        """The partitions that have items on their way."""
        return [partition for partition in self.sent if self._on_their_way(partition) > 0]

    def next_chunks(self) -> Iterator[tuple[int, int, list[Item]]]:
        """What may be sent now: partition, offset and items; those of a partition in their order."""
        on_their_way = sum(map(self._chunks_on_their_way, self.sent))
        if self.sent and not on_their_way:
            self._most = min(self._most + CHUNKS_IN_PARTITION, CHUNKS_AT_MOST)
        room = self._most - on_their_way
        for partition in self._next:
            offset = self.sent.get(partition, 0)
            for _ in range(min(room, CHUNKS_IN_PARTITION - self._chunks_on_their_way(partition))):
                if items := self._items[partition][offset : offset + CHUNK_ITEMS]:
                    yield partition, offset, items
                    offset += CHUNK_ITEMS
                    room -= 1

    def note(self, chunks: list[Chunk]) -> None:
        """These were sent."""
        for chunk in chunks:
            self.sent[chunk.partition] = chunk.offset + chunk.count

    def _left(self, partition: int) -> int:
        return len(self._items[partition]) - self.sent.get(partition, 0)

    def _on_their_way(self, partition: int) -> int:
        return self.sent.get(partition, 0) - self.settled.get(partition, 0)

    def _chunks_on_their_way(self, partition: int) -> int:
        return -(-self._on_their_way(partition) // CHUNK_ITEMS)


def _check_together(draft: Draft) -> None:
    """Note why these lines cannot be paid all or none."""
    if len(draft.items) > 1:
        text = f"needs accounts of one partition, and these are of {len(draft.items)}"
        draft.note(0, "all-or-nothing", f"{text}: submit each partition's lines apart, or all without it")
    if draft.count > MAX_PARTS:
        draft.note(0, "all-or-nothing", f"is for at most {MAX_PARTS} lines, and these are {draft.count}")


def _refusal(found: Manifest, wanted: Manifest) -> BatchRefusal | None:
    """Whether what is there under the id is another batch, or one that shall not go on."""
    if found.content != wanted.content:
        return BatchRefusal.BATCH_ID_REUSED
    return BatchRefusal.BATCH_CANCELLED if found.cancelled else None
