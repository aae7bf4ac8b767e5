"""Ops pause the service: what a front end refuses, what it lets pass, and what it knows when it begins."""

import asyncio

import pytest

from app.domain.commands import FreezeAccount
from app.queueing.bus import Bus
from app.services.faults import Paused
from app.storage import keys
from app.storage.overview import StoreSwitches
from tests.support.carrying import PARTITIONS
from tests.support.front_ends import ANNA, LONG_MS, WatchedLog, front_end
from tests.support.store import RealStore
from tests.support.waiting import soon
from tests.support.workers import a_worker


def test_a_front_end_that_begins_while_the_service_is_paused_takes_no_command(real_store: RealStore) -> None:
    """Not one: a restart must not open what ops have closed. Those of ops pass."""
    switches = StoreSwitches(real_store.backend())
    assert switches.pause("olga", "maintenance")

    async def scenario() -> None:
        async with front_end(real_store) as front:
            await front.bus.looked()
            with pytest.raises(Paused):
                await front.deposit("k")
            assert front.log.rounds == []
            frozen = await front.bus.execute(FreezeAccount(account_id=ANNA), timeout_ms=LONG_MS, by_ops=True)
            assert frozen.outcome == "ACCOUNT_NOT_FOUND"
            switches.resume("olga", "done")
            await soon(lambda: not front.bus.paused)
            assert (await front.deposit("k")).ok

    with a_worker(real_store):
        asyncio.run(scenario())


class SlowLog(WatchedLog):
    """One that takes its time to say whether the service is paused."""

    def __init__(self, store: RealStore) -> None:
        super().__init__(store, wait_replicas=0)
        self.may_say = asyncio.Event()

    async def heed_ops(self, front_end: str) -> bool:
        await self.may_say.wait()
        return await super().heed_ops(front_end)


def test_a_front_end_is_not_open_before_it_knows_whether_the_service_is_paused(
    real_store: RealStore,
) -> None:
    """That the store answers is not enough."""
    StoreSwitches(real_store.backend()).pause("olga", "maintenance")

    async def scenario() -> None:
        log = SlowLog(real_store)
        bus = Bus(log, partitions=PARTITIONS, max_waiting=10)
        bus.start()
        looked = asyncio.create_task(bus.looked())
        await soon(lambda: bus.available)
        await asyncio.sleep(0)
        assert not looked.done()
        log.may_say.set()
        await looked
        assert bus.paused
        await bus.close()
        await log.close()

    asyncio.run(scenario())


def test_what_was_taken_before_the_pause_is_carried_out(real_store: RealStore) -> None:
    """The queue drains: a caller who was not refused is answered."""
    switches = StoreSwitches(real_store.backend())

    async def scenario() -> None:
        async with front_end(real_store) as front:
            await front.bus.looked()
            waiting = front.deposit("k")
            await soon(lambda: front.log.rounds)
            switches.pause("olga", "maintenance")
            await soon(lambda: front.bus.paused)
            with a_worker(real_store):
                assert (await waiting).ok

    asyncio.run(scenario())
    assert real_store.backend().call("HGET", keys.OPS, keys.PAUSED_FIELD)
