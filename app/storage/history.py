"""Reads of what has happened on an account. What one answer shows belongs to one moment: that of its head.

The head is read first, with what counts up to it; ledger entries never change, so the rest is read behind it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.identifiers import partition_in, partition_of
from app.domain.ledger import BrokenChain, LedgerEntry, unseal
from app.services.faults import StoreRefused
from app.services.history import LedgerWindow, Link, Transactions
from app.storage import codec, keys
from app.storage.backend import Reply
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.plan import Plan

PROBES = 32
"""Entries looked at in one call of a search: a ledger of a million entries takes four."""


@dataclass(slots=True, frozen=True)
class _Ledger:
    """An account's ledger as it was at one moment: entries `first` (0 or 1) to `head`."""

    account_id: str
    partition: int
    checksum: str
    first: int
    head: int

    @property
    def entries(self) -> int:
        return self.head + 1 - self.first

    def read_entry(self, plan: Plan, seq: int) -> None:
        segment = keys.segment_of(seq)
        begin = max(self.first, segment * keys.SEGMENT_LENGTH)
        plan.read("LINDEX", keys.ledger(self.partition, self.account_id, segment), seq - begin)


class StoreHistory:
    """Implements `app.services.history.History`."""

    def __init__(self, connection: AsyncConnection, partitions: int) -> None:
        self._connection = connection
        self._partitions = partitions

    async def transactions(
        self, account_id: str, *, kind: str = "", offset: int = 0, limit: int
    ) -> Transactions | None:
        """See History."""
        plan = Plan()
        if kind:
            index = keys.transactions_of(partition_of(account_id, self._partitions), account_id, kind)
            plan.read("LLEN", index)
            plan.read("LRANGE", index, -offset - limit, -offset - 1)
        ledger, replies = await self._ledger(account_id, plan)
        if ledger is None:
            return None
        if kind:
            total, seqs = int(replies[0]), [int(seq) for seq in reversed(replies[1])]
        else:
            total, newest = ledger.entries, ledger.head - offset
            seqs = list(range(newest, max(newest - limit, ledger.first - 1), -1))
        links = await self._links(ledger, seqs)
        return Transactions(entries=[link.entry for link in links], total=total)

    async def ledger(
        self, account_id: str, *, since: int | None = None, until: int | None = None, limit: int
    ) -> LedgerWindow | None:
        """See History."""
        ledger, _ = await self._ledger(account_id, Plan())
        if ledger is None:
            return None
        begin = ledger.first if since is None else await self._first_from(ledger, since)
        end = ledger.head + 1 if until is None else await self._first_from(ledger, until + 1)
        newest = range(end - 1, max(end - 1 - limit, begin - 1), -1)
        return LedgerWindow(
            links=await self._links(ledger, newest),
            total=max(end - begin, 0),
            latest_checksum=ledger.checksum,
        )

    async def transaction(self, transaction_id: str) -> LedgerEntry | None:
        """See History."""
        partition = partition_in(transaction_id)
        if partition is None:
            return None
        plan = Plan()
        plan.read("GET", keys.transaction(partition, transaction_id))
        record = codec.transaction((await self._connection.look(plan))[1][0])
        if record is None:
            return None
        ledger, _ = await self._ledger(record.account_id, Plan())
        if ledger is None:
            raise StoreRefused(f"transaction {transaction_id} is of no account")
        return (await self._links(ledger, [record.seq]))[0].entry

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _ledger(self, account_id: str, beside: Plan) -> tuple[_Ledger | None, list[Reply]]:
        """The ledger as it is now, and the replies to what is to be read at the same moment."""
        partition = partition_of(account_id, self._partitions)
        planned = len(beside.reads)
        beside.read("HMGET", keys.account(partition, account_id), *codec.ACCOUNT_FIELDS)
        beside.read("LLEN", keys.ledger(partition, account_id, 0))
        _, replies = await self._connection.look(beside)
        fields, length = replies[planned:]
        account = codec.account(account_id, fields)
        if account is None:
            return None, []
        last_of_segment = min(account.seq, keys.SEGMENT_LENGTH - 1)
        first = last_of_segment + 1 - int(length)
        return _Ledger(account_id, partition, account.checksum, first, account.seq), replies[:planned]

    async def _first_from(self, ledger: _Ledger, moment: int) -> int:
        """The first entry not before the moment (ms); the place behind the head when there is none."""
        low, high = ledger.first, ledger.head + 1
        while low < high:
            step = max((high - low) // PROBES, 1)
            probes = range(low, high, step)
            times = [link.entry.timestamp for link in await self._links(ledger, probes)]
            later = bisect_left(times, moment)
            high = probes[later] if later < len(probes) else high
            low = probes[later - 1] + 1 if later else low
        return low

    async def _links(self, ledger: _Ledger, seqs: Sequence[int]) -> list[Link]:
        """These entries, in this order, each checked against its checksum and its place."""
        if not seqs:
            return []
        plan = Plan()
        for seq in seqs:
            ledger.read_entry(plan, seq)
        _, elements = await self._connection.look(plan)
        return [_link(ledger, seq, element) for seq, element in zip(seqs, elements, strict=True)]


def _link(ledger: _Ledger, seq: int, element: bytes | None) -> Link:
    try:
        checksum, entry = unseal(element or b"")
    except BrokenChain as broken:
        raise StoreRefused(f"ledger of {ledger.account_id}, entry {seq}: {broken}") from broken
    if entry.seq != seq or entry.account_id != ledger.account_id:
        raise StoreRefused(f"ledger of {ledger.account_id}, entry {seq}: found {entry.entry_id}")
    return Link(checksum, entry)
