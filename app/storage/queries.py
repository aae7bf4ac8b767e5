"""Reads for front ends and command line: consistent pictures, many callers in one round trip."""

import asyncio
import time

import msgspec
from redis.exceptions import ResponseError

from app.domain.identifiers import partition_of
from app.domain.reservations import available
from app.services.faults import BalanceFault, StoreUnavailable, Unavailable
from app.services.queries import BalanceView, Health
from app.storage import codec, keys
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.plan import Plan

READ_SECONDS = 0.5  # a store that takes longer is away: the last known value is the better answer
STALE_SECONDS = 60.0
MAX_REMEMBERED = 100_000


class StoreQueries:
    """Implements `app.services.queries.Queries`.

    Reads pace themselves as batches do: one is on its way, and who asks meanwhile shares the next.
    """

    def __init__(self, connection: AsyncConnection, partitions: int) -> None:
        self._connection = connection
        self._partitions = partitions
        self._asked: dict[str, asyncio.Future[BalanceView]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._known: dict[str, tuple[float, BalanceView]] = {}

    async def balance(self, account_id: str) -> BalanceView:
        """See Queries."""
        future = self._asked.get(account_id)
        if future is None:
            future = self._asked[account_id] = asyncio.get_running_loop().create_future()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_all())
        try:
            return await asyncio.shield(future)
        except StoreUnavailable as away:
            return self._last_known(account_id, away)

    async def health(self) -> Health:
        """See Queries."""
        plan = Plan()
        for partition in range(self._partitions):
            plan.read("HMGET", keys.partition(partition), "owner", "until")
        try:
            now, owners = await self._connection.read(plan)
            writable = await self._writable()
        except BalanceFault:
            return Health(
                store=False, writable=False, unowned_partitions=self._partitions, reason="store is away"
            )
        unowned = sum(not owner or int(until or 0) <= now for owner, until in owners)
        reason = "" if writable else "store takes no writes"
        if writable and unowned:
            reason = f"{unowned} of {self._partitions} partitions have no owner"
        return Health(store=True, writable=writable, unowned_partitions=unowned, reason=reason)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _writable(self) -> bool:
        """Whether the store would take a command now: asked by appending to a queue that there is not.

        It refuses writes for many reasons: disk, memory, too few replicas, being a replica itself.
        """
        nowhere = keys.queue(self._partitions, "none")
        (reply,) = await self._connection.exchange([("XADD", nowhere, "NOMKSTREAM", "*", "m", "")])
        return not isinstance(reply, ResponseError)

    async def _read_all(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            await self._answer(asked)
        self._reader = None

    async def _answer(self, asked: dict[str, asyncio.Future[BalanceView]]) -> None:
        try:
            views = await self._read(list(asked))
        except StoreUnavailable as away:
            _fail(asked, away)
        except Exception as error:
            if len(asked) == 1:
                _fail(asked, error)
            else:  # one account cannot be read: it must not stand before the others
                for account_id, future in asked.items():
                    await self._answer({account_id: future})
        else:
            for view in views:
                asked[view.account_id].set_result(view)

    async def _read(self, account_ids: list[str]) -> list[BalanceView]:
        plan = Plan()
        for account_id in account_ids:
            partition = partition_of(account_id, self._partitions)
            plan.read("HMGET", keys.account(partition, account_id), *codec.ACCOUNT_FIELDS)
            plan.read("HGETALL", keys.holds(partition, account_id))
        now, replies = await self._connection.read(plan)
        pairs = zip(account_ids, replies[::2], replies[1::2], strict=True)
        views = [self._view(account_id, fields, holds, now) for account_id, fields, holds in pairs]
        self._remember(views)
        return views

    def _view(self, account_id: str, fields: list[bytes | None], holds: list[bytes], now: int) -> BalanceView:
        account = codec.account(account_id, fields)
        if account is None:
            return BalanceView(account_id=account_id, as_of=now)
        return BalanceView(
            account_id=account_id,
            balance=account.balance,
            available_balance=available(account.balance, codec.holds(holds), now),
            reserved=account.reserved,
            currency=account.currency,
            version=account.version,
            status=account.status,
            exists=True,
            as_of=now,
        )

    def _remember(self, views: list[BalanceView]) -> None:
        if len(self._known) + len(views) > MAX_REMEMBERED:
            self._known.clear()
        at = time.monotonic()
        self._known.update((view.account_id, (at, view)) for view in views)

    def _last_known(self, account_id: str, away: StoreUnavailable) -> BalanceView:
        at, view = self._known.get(account_id, (0.0, None))
        if view is None or time.monotonic() - at > STALE_SECONDS:
            raise Unavailable(str(away)) from away
        return msgspec.structs.replace(view, stale=True)


def _fail(asked: dict[str, asyncio.Future[BalanceView]], error: Exception) -> None:
    for future in asked.values():
        future.set_exception(error)
        future.exception()  # whoever asked may be gone
