"""Talks to a service about a batch of payouts, for as long as it takes: sends, asks again, goes on.

Whatever is sent again is paid once: what a batch was sent of is kept with every chunk of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc.aio

from app.cli.target import Target
from app.client.errors import may_pass
from app.client.gen import balance_pb2 as pb
from app.client.gen import balance_pb2_grpc
from app.client.packing import messages_of
from app.domain.batches import Draft, Item
from app.rpc.tls import aio_channel

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 60.0
CONNECT_SECONDS = 3.0
CALL_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))

Answer = TypeVar("Answer")
Tell = Callable[[pb.Batch], None]


class GaveUpError(Exception):
    """The service cannot be reached, or does not want what we ask. The text says why."""


class UnfinishedError(GaveUpError):
    """The same while a batch was being paid: part of it may be."""


class Paying:
    """One connection to the service. `tell` is called with the batch whenever something is known of it."""

    def __init__(self, stub: Any, token: str | None, tell: Tell) -> None:
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._tell = tell
        self._pays = False
        self._settled = -1
        self._moved_at = asyncio.get_running_loop().time()

    async def batch(self, batch_id: str, *, brief: bool = False) -> pb.Batch | None:
        """The batch as it stands; None when there is none."""
        answer = await self._insist(lambda: self._get(batch_id, brief=brief))
        return answer.batch if answer.ok else None

    async def submit(self, draft: Draft, header: pb.BatchHeader) -> pb.SubmitBatchResponse:
        """Send the batch until all of it is queued, through whatever happens to the service meanwhile.

        From then on whatever gives up raises UnfinishedError, unless it is a dry run.
        """
        self._pays = not header.dry_run
        watching = asyncio.create_task(self._watch(header.batch_id))
        try:
            return await self._insist(lambda: self._send(draft, header))
        finally:
            watching.cancel()

    async def settled(self, batch_id: str) -> pb.Batch:
        """Wait until nothing more happens by itself; the batch then."""
        while True:
            batch = await self.batch(batch_id, brief=True)
            if batch is None:
                raise UnfinishedError(f"the service knows no batch {batch_id} any more")
            self._note(batch)
            if batch.finished:
                return await self.batch(batch_id) or batch
            await asyncio.sleep(POLL_SECONDS)

    async def cancel(self, batch_id: str) -> pb.Batch | None:
        """Let nothing more of it be queued; None when there is no such batch."""
        request = pb.CancelBatchRequest(batch_id=batch_id)
        answer = await self._insist(lambda: self._call("CancelBatch", request))
        return answer.batch if answer.ok else None

    async def items(self, batch_id: str, *, failed: bool) -> AsyncIterator[pb.BatchItem]:
        """The settled lines in their order; with `failed` those that were not paid."""
        line = 0
        while True:
            request = pb.ListBatchItemsRequest(batch_id=batch_id, after_line=line, failed=failed)
            page = await self._insist(lambda request=request: self._call("ListBatchItems", request))  # type: ignore[misc]
            for item in page.items:
                yield item
            line = page.next_line
            if not line:
                return

    async def _send(self, draft: Draft, header: pb.BatchHeader) -> pb.SubmitBatchResponse:
        answer: pb.SubmitBatchResponse = await self._stub.SubmitBatch(
            _parts(draft, header), metadata=self._metadata
        )
        return answer

    async def _get(self, batch_id: str, *, brief: bool) -> pb.GetBatchResponse:
        request = pb.GetBatchRequest(batch_id=batch_id, brief=brief)
        answer: pb.GetBatchResponse = await self._call("GetBatch", request)
        return answer

    async def _call(self, method: str, request: Any) -> Any:
        return await getattr(self._stub, method)(request, metadata=self._metadata, timeout=CALL_SECONDS)

    async def _watch(self, batch_id: str) -> None:
        """Tell how far the batch is while it is being sent."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                answer = await self._get(batch_id, brief=True)
            except grpc.aio.AioRpcError:
                continue
            if answer.ok:
                self._note(answer.batch)

    async def _insist(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Try until it is answered; raises GaveUpError when nothing has moved for a minute."""
        loop = asyncio.get_running_loop()
        self._moved_at = loop.time()
        while True:
            try:
                return await attempt()
            except grpc.aio.AioRpcError as error:
                status, why = error.code(), error.details() or ""
                if not may_pass(status, why) or loop.time() - self._moved_at > PATIENCE_SECONDS:
                    given_up = UnfinishedError if self._pays else GaveUpError
                    raise given_up(f"{status.name}: {why}") from None
            await asyncio.sleep(_PAUSE_SECONDS)

    def _note(self, batch: pb.Batch) -> None:
        if batch.settled != self._settled:
            self._settled, self._moved_at = batch.settled, asyncio.get_running_loop().time()
        self._tell(batch)


@asynccontextmanager
async def paying(target: Target, tell: Tell) -> AsyncIterator[Paying]:
    """A connection; raises GaveUpError when nobody answers there."""
    async with aio_channel(target.grpc, target.tls, _OPTIONS) as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), CONNECT_SECONDS)
        except TimeoutError:
            raise GaveUpError(f"no service answers on {target.grpc} (balance up starts one)") from None
        stub: Any = balance_pb2_grpc.BalanceServiceStub(channel)
        yield Paying(stub, target.token, tell)


def _parts(draft: Draft, header: pb.BatchHeader) -> Iterator[pb.SubmitBatchRequest]:
    yield pb.SubmitBatchRequest(header=header)
    items = sorted(item for those in draft.items.values() for item in those)
    yield from messages_of(map(_wire, items))


def _wire(item: Item) -> pb.PayoutItem:
    line, payout, key = item
    return pb.PayoutItem(
        line=line,
        account_id=payout.account_id,
        amount=payout.amount,
        idempotency_key=key,
        type=payout.type,
        reason=payout.reason,
    )
