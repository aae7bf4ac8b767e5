"""How batches are sent: a few chunks at a time, each once, on from wherever somebody stopped."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from app.domain.batches import Item
from app.domain.commands import Payout
from app.queueing.envelope import tracked_message
from app.services.batches import Chunk, Manifest
from app.services.faults import Interrupted, Overloaded, StoreUnavailable, Unavailable
from app.services.payouts import (
    CHUNK_ITEMS,
    CHUNKS_AT_FIRST,
    CHUNKS_AT_MOST,
    CHUNKS_IN_PARTITION,
    DRAFTS_AT_ONCE,
    BatchRefusal,
    Payouts,
    SubmittedBatch,
)
from app.services.queue import Lane
from app.storage.batches import StoreBatches
from tests.support.alongside import Alongside
from tests.support.carrying import PARTITIONS, Carrier
from tests.support.grounds import TwinGround

LINES, ACCOUNTS = 2_500, 300
STREAMS = [(partition, Lane.BULK) for partition in range(PARTITIONS)]


class Watched(StoreBatches):
    """A store whose owner of partitions works whenever somebody looks, and which may fail at a chunk."""

    def __init__(self, ground: TwinGround) -> None:
        super().__init__(Alongside(ground.backend()), PARTITIONS)
        self.carrier = Carrier(ground.backend())
        self.rounds: list[int] = []
        self.on_their_way = 0
        self.most_on_their_way = 0
        self.fails_at = 0
        self.fails_after_it = False
        self.works = True

    async def send(self, manifest: Manifest, chunks: list[Chunk]) -> bool:
        self.rounds.append(len(chunks))
        failing = self.fails_at == len(self.rounds)
        if failing and not self.fails_after_it:
            raise StoreUnavailable("before")
        sent = await super().send(manifest, chunks)
        self.on_their_way += len(chunks)
        self.most_on_their_way = max(self.most_on_their_way, self.on_their_way)
        if failing:
            raise StoreUnavailable("after")
        return sent

    async def settled(self, batch_id: str, partitions: object) -> dict[int, int]:
        if self.works:
            self.carrier.work_off(*STREAMS)
            self.on_their_way = 0
        return dict(await super().settled(batch_id, partitions))  # type: ignore[arg-type]

    def balances(self) -> dict[str, int]:
        """What every account holds."""
        return {
            key.partition("|")[2]: int(fields["balance"])
            for key, fields in self.carrier.backend.server.data.items()  # type: ignore[attr-defined]
            if key.startswith("balance:accounts:{")
        }


@pytest.fixture
def store() -> Watched:
    return Watched(TwinGround())


def payouts(store: StoreBatches, admit: Callable[[], None] = lambda: None) -> Payouts:
    return Payouts(store, tracked_message, partitions=PARTITIONS, admit=admit)


ITEMS = [
    Item(line, Payout(account_id=f"p-{Random(line).randrange(ACCOUNTS)}", amount=line % 50 + 1))
    for line in range(1, LINES + 1)
]


def submit(sender: Payouts, items: list[Item] = ITEMS, *, dry_run: bool = False) -> SubmittedBatch:
    async def submitting() -> SubmittedBatch:
        with sender.draft() as draft:
            for item in items:
                draft.add(item)
            draft.finish("b")
            return await sender.submit(draft, "b", dry_run=dry_run)

    return asyncio.run(submitting())


def due() -> dict[str, int]:
    chips: dict[str, int] = {}
    for item in ITEMS:
        chips[item.payout.account_id] = chips.get(item.payout.account_id, 0) + item.payout.amount
    return chips


def test_all_is_sent_a_few_chunks_at_a_time(store: Watched) -> None:
    """However large a batch is, the store's memory holds so much of it and no more."""
    found = submit(payouts(store))
    assert found.refusal is None
    assert found.view is not None
    assert (found.view.sent, found.view.manifest.items) == (LINES, LINES)
    assert store.most_on_their_way <= CHUNKS_AT_MOST
    assert store.rounds[0] == CHUNKS_AT_FIRST
    store.carrier.work_off(*STREAMS)
    assert store.balances() == due()


def test_nothing_more_is_sent_while_nothing_is_settled(store: Watched) -> None:
    """
    Given workers that stand still
    Expect the sender to wait with its first chunks on their way, and to stop when its caller has gone.
    """
    store.works = False

    async def for_a_while() -> None:
        with payouts(store).draft() as draft:
            for item in ITEMS:
                draft.add(item)
            async with asyncio.timeout(0.2):
                await payouts(store).submit(draft, "b")

    with pytest.raises(TimeoutError):
        asyncio.run(for_a_while())
    assert store.on_their_way <= CHUNKS_AT_FIRST
    store.works = True
    assert submit(payouts(store)).refusal is None
    store.carrier.work_off(*STREAMS)
    assert store.balances() == due()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("fails_at", [1, 2, 4])
def test_a_sender_that_failed_is_followed_by_another(store: Watched, fails_at: int, *, after: bool) -> None:
    """
    If the store is lost before, or right after, it took a chunk
    Expect the caller to be told to submit again, and then everything paid once.
    """
    store.fails_at, store.fails_after_it = fails_at, after
    with pytest.raises(Interrupted):
        submit(payouts(store))
    found = submit(payouts(store))
    assert found.view is not None
    assert found.view.sent == LINES
    store.carrier.work_off(*STREAMS)
    assert store.balances() == due()


def test_two_senders_of_one_batch_pay_it_once(store: Watched) -> None:
    """Each finds what the other one has sent."""
    sender = payouts(store)

    async def both() -> list[SubmittedBatch]:
        async def one() -> SubmittedBatch:
            with sender.draft() as draft:
                for item in ITEMS:
                    draft.add(item)
                return await sender.submit(draft, "b")

        return list(await asyncio.gather(one(), one()))

    found = asyncio.run(both())
    assert {each.refusal for each in found} == {None}
    store.carrier.work_off(*STREAMS)
    assert store.balances() == due()


def test_a_batch_that_was_sent_is_answered_as_it_stands(store: Watched) -> None:
    submit(payouts(store))
    store.carrier.work_off(*STREAMS)
    rounds = len(store.rounds)
    again = submit(payouts(store))
    assert again.view is not None
    assert again.view.finished
    assert again.view.counts.applied == LINES
    assert len(store.rounds) == rounds


def test_another_batch_under_the_id_is_refused(store: Watched) -> None:
    """Nothing of it is sent, also where it differs in one chip."""
    submit(payouts(store))
    sent = len(store.rounds)
    other = [*ITEMS[:-1], ITEMS[-1]._replace(payout=Payout(account_id="p-1", amount=51))]
    for dry_run in (False, True):
        assert submit(payouts(store), other, dry_run=dry_run).refusal is BatchRefusal.BATCH_ID_REUSED
    assert len(store.rounds) == sent


def test_a_cancelled_batch_is_not_gone_on_with(store: Watched) -> None:
    """What was sent is paid; whoever submits it again is told."""
    store.fails_at = 2
    with pytest.raises(Interrupted):
        submit(payouts(store))
    cancelled = asyncio.run(payouts(store).cancel("b"))
    assert cancelled is not None
    again = submit(payouts(store))
    assert again.refusal is BatchRefusal.BATCH_CANCELLED
    assert again.view is not None
    assert 0 < again.view.sent == cancelled.sent < LINES


def test_a_batch_that_is_cancelled_while_it_is_sent_stops(store: Watched) -> None:
    sender = payouts(store)

    class Cancelling(Watched):
        async def send(self, manifest: Manifest, chunks: list[Chunk]) -> bool:
            if len(self.rounds) == 2:
                await self.cancel(manifest.batch_id)
            return await super().send(manifest, chunks)

    store.__class__ = Cancelling
    found = submit(sender)
    assert found.refusal is BatchRefusal.BATCH_CANCELLED
    assert found.view is not None
    assert found.view.sent < LINES


def test_a_dry_run_writes_nothing() -> None:
    ground = TwinGround()
    store = StoreBatches(Alongside(ground.backend()), PARTITIONS)
    assert submit(payouts(store), dry_run=True) == SubmittedBatch("b")
    assert ground.dump() == {}


@pytest.mark.parametrize("fault", [Unavailable("away"), Overloaded("full")])
def test_nothing_begins_while_nothing_may_be_queued(store: Watched, fault: Exception) -> None:
    """Not so much as the manifest is written."""

    def admit() -> None:
        raise fault

    with pytest.raises(type(fault)):
        submit(payouts(store, admit))
    assert asyncio.run(store.manifest("b")) is None


def test_a_store_that_fills_up_interrupts_the_sending(store: Watched) -> None:
    """The caller submits again when there is room."""
    asked = 0

    def admit() -> None:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Overloaded("the store's memory is nearly full")

    with pytest.raises(Interrupted):
        submit(payouts(store, admit))
    assert submit(payouts(store)).refusal is None


def together(store: Watched, items: list[Item]) -> tuple[SubmittedBatch, list[str]]:
    async def submitting() -> tuple[SubmittedBatch, list[str]]:
        with payouts(store).draft() as draft:
            for item in items:
                draft.add(item)
            found = await payouts(store).submit(draft, "b", all_or_nothing=True)
            return found, list(map(str, draft.problems))

    return asyncio.run(submitting())


def test_a_batch_of_one_partition_may_be_paid_all_or_none(store: Watched) -> None:
    """As one command in one chunk; submitted again nothing more is sent, without the option it is another."""
    items = [Item(line, Payout(account_id="anna", amount=line)) for line in range(1, 129)]
    for _ in range(2):
        found, _ = together(store, items)
        assert found.refusal is None
        assert [len(answers) for answers in [store.carrier.work_off(*STREAMS)]] in ([1], [0])
    assert store.rounds == [1]
    assert store.balances() == {"anna": sum(range(129))}
    assert submit(payouts(store), items).refusal is BatchRefusal.BATCH_ID_REUSED


def test_a_batch_of_several_partitions_cannot_be_all_or_none(store: Watched) -> None:
    """It says why, and sends nothing; nor does one that is too large for one commit."""
    found, problems = together(store, ITEMS[:10])
    assert found.refusal is BatchRefusal.INVALID_BATCH
    assert "needs accounts of one partition" in problems[0]
    items = [Item(line, Payout(account_id="anna", amount=line)) for line in range(1, 130)]
    found, problems = together(store, items)
    assert found.refusal is BatchRefusal.INVALID_BATCH
    assert problems == ["all-or-nothing is for at most 128 lines, and these are 129"]
    assert store.rounds == []


def test_a_wrong_batch_is_not_sent(store: Watched) -> None:
    wrong = [ITEMS[0], ITEMS[1]._replace(payout=Payout(account_id="p-1", amount=0))]
    assert submit(payouts(store), wrong).refusal is BatchRefusal.INVALID_BATCH
    assert store.rounds == []


def test_a_front_end_holds_only_so_many_batches(store: Watched) -> None:
    """They are large; the place of one that ended is free again."""
    sender = payouts(store)
    for _ in range(2):
        held = [sender.draft() for _ in range(DRAFTS_AT_ONCE)]
        for each in held:
            each.__enter__()
        with pytest.raises(Overloaded), sender.draft():
            pass
        for each in held:
            each.__exit__(None, None, None)


def test_a_chunk_fits_one_message(store: Watched) -> None:
    """Of one account all lines are of one partition, and go one chunk after the other."""
    items = [Item(line, Payout(account_id="anna", amount=1)) for line in range(1, 10 * CHUNK_ITEMS)]
    found = submit(payouts(store), items)
    store.carrier.work_off(*STREAMS)
    assert found.view is not None
    assert max(store.rounds) == CHUNKS_IN_PARTITION
    assert store.balances() == {"anna": len(items)}
