"""Batches as the store keeps them: a manifest with what was sent, and by partition the settled lines."""

from collections import Counter
from collections.abc import Collection, Mapping

from msgspec.structs import replace

from app.domain.identifiers import partition_of
from app.domain.ledger import RECORD_VERSION
from app.services.batches import BatchView, Chunk, Counts, Manifest, SettledItem
from app.services.faults import StoreRefused
from app.services.queue import Lane
from app.services.tracking import Status
from app.storage import codec, keys
from app.storage.backend import Reply
from app.storage.commands import Connection
from app.storage.plan import Plan


class StoreBatches:
    """Implements `app.services.batches.BatchStore`."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self._connection = connection
        self._partitions = partitions

    async def open(self, manifest: Manifest) -> tuple[Manifest, bool]:
        """See BatchStore."""
        key = self._key(manifest.batch_id)
        while True:
            now, found = await self._manifest(manifest.batch_id)
            if found is not None:
                await self._connection.confirm()
                return found, False
            plan = Plan()
            plan.expect_absent(key)
            plan.write("HSET", key, *_fields(replace(manifest, created_at=now)))
            plan.write("HINCRBY", keys.META, "commits", 1)
            if not await self._connection.commit(plan):
                return replace(manifest, created_at=now), True

    async def send(self, manifest: Manifest, chunks: list[Chunk]) -> bool:
        """See BatchStore."""
        plan, key = Plan(), self._key(manifest.batch_id)
        plan.expect(key, "content", manifest.content)
        plan.expect(key, "cancelledAt", "")
        first = {chunk.partition: chunk.offset for chunk in reversed(chunks)}
        for partition, offset in first.items():
            plan.expect_count(key, keys.sent_field(partition), offset)
        for chunk in chunks:
            field = keys.sent_field(chunk.partition)
            plan.write("HINCRBY", key, field, chunk.count)
            plan.write("XADD", keys.queue(chunk.partition, Lane.BULK), "*", "m", chunk.message)
        plan.write("HINCRBY", keys.META, "commits", 1)
        return not await self._connection.commit(plan)

    async def settled(self, batch_id: str, partitions: Collection[int]) -> Mapping[int, int]:
        """See BatchStore."""
        if not partitions:
            return {}
        plan = Plan()
        for partition in partitions:
            plan.read("HLEN", keys.batch_items(partition, batch_id))
        _, counts = await self._connection.look(plan)
        return dict(zip(partitions, counts, strict=True))

    async def manifest(self, batch_id: str) -> Manifest | None:
        """See BatchStore."""
        return (await self._manifest(batch_id))[1]

    async def view(self, batch_id: str, *, brief: bool = False) -> BatchView | None:
        """See BatchStore. One read for each partition: a large batch holds up nobody."""
        manifest = await self.manifest(batch_id)
        if manifest is None:
            return None
        if brief:
            return BatchView(manifest, sum((await self.settled(batch_id, manifest.sent)).values()))
        letters: Counter[Status] = Counter()
        for partition in manifest.sent:
            plan = Plan()
            plan.read("HVALS", keys.batch_items(partition, batch_id))
            _, (values,) = await self._connection.look(plan)
            letters.update(map(codec.item_status, values))
        counts = (letters[each] for each in (Status.APPLIED, Status.REPLAYED, Status.REFUSED, Status.PARKED))
        return BatchView(manifest, letters.total(), Counts(*counts))

    async def items(
        self, batch_id: str, *, after: int, limit: int, failed: bool
    ) -> tuple[list[SettledItem], int]:
        """See BatchStore. Looks at `limit` line numbers; which partition a line is of is in its account."""
        manifest = await self.manifest(batch_id)
        if manifest is None:
            return [], 0
        lines = range(after + 1, after + 1 + limit)
        plan = Plan()
        for partition in manifest.sent:
            key = keys.batch_items(partition, batch_id)
            plan.read("HMGET", key, *map(str, lines))
        _, replies = await self._connection.look(plan)
        found = [
            SettledItem(line, codec.item_status(value), codec.item_failure(value))
            for values in replies
            for line, value in zip(lines, values, strict=True)
            if value is not None
        ]
        shown = [each for each in sorted(found) if each.failure is not None or not failed]
        return shown, lines[-1] if lines[-1] < manifest.last_line else 0

    async def cancel(self, batch_id: str) -> Manifest | None:
        """See BatchStore."""
        key = self._key(batch_id)
        while True:
            now, found = await self._manifest(batch_id)
            if found is None or found.cancelled or sum(found.sent.values()) == found.items:
                return found
            plan = Plan()
            plan.expect(key, "content", found.content)
            plan.expect(key, "cancelledAt", "")
            plan.write("HSET", key, "cancelledAt", now)
            plan.write("HINCRBY", keys.META, "commits", 1)
            await self._connection.commit(plan)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    def _key(self, batch_id: str) -> str:
        return keys.batch(partition_of(batch_id, self._partitions), batch_id)

    async def _manifest(self, batch_id: str) -> tuple[int, Manifest | None]:
        plan = Plan()
        plan.read("HGETALL", self._key(batch_id))
        now, (pairs,) = await self._connection.look(plan)
        return now, _parsed(batch_id, pairs)


def _fields(manifest: Manifest) -> list[str | int]:
    return [
        *("v", manifest.v, "content", manifest.content, "items", manifest.items, "total", manifest.total),
        *("lastLine", manifest.last_line, "createdAt", manifest.created_at),
        *("submittedBy", manifest.submitted_by),
    ]


def _parsed(batch_id: str, pairs: Reply) -> Manifest | None:
    if not pairs:
        return None
    fields = {name.decode(): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
    if fields.get("v") != b"%d" % RECORD_VERSION:
        raise StoreRefused(f"batch {batch_id} has an unknown version")
    counters = {name: int(count) for name, count in fields.items() if name.startswith(keys.SENT)}
    return Manifest(
        batch_id=batch_id,
        content=fields["content"].decode(),
        items=int(fields["items"]),
        total=int(fields["total"]),
        last_line=int(fields["lastLine"]),
        created_at=int(fields["createdAt"]),
        submitted_by=fields["submittedBy"].decode(),
        cancelled_at=int(fields.get("cancelledAt", 0)),
        sent={int(name.removeprefix(keys.SENT)): count for name, count in counters.items()},
    )
