"""What is kept of commands that nobody waits for: written with their messages, settled in their commits."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from app.domain.commands import Deposit, EnsureAccount, FreezeAccount, Payout, UnfreezeAccount, Withdraw
from app.domain.dead_letters import DeadLetter
from app.domain.outcomes import Outcome
from app.domain.requests import Request
from app.queueing.envelope import encode_message, tracked_message
from app.services.asynchronous import Submissions
from app.services.batches import Chunk, Counts, Manifest
from app.services.queue import Lane
from app.services.tracking import Status, Track, Tracked
from app.services.work import Unit
from app.storage import keys
from app.storage.batches import StoreBatches
from app.storage.commands import StoreCommands
from app.storage.store import STATE_KEPT_MS
from tests.support.alongside import Alongside
from tests.support.carrying import PARTITIONS, Carrier, id_in
from tests.support.grounds import Ground, plan_of, read

ANNA = id_in(1)
BULK = (1, Lane.BULK)
BATCH = "b-1"


@pytest.fixture
def submissions(ground: Ground) -> Submissions:
    return Submissions(
        StoreCommands(Alongside(ground.backend())),
        tracked_message,
        partitions=PARTITIONS,
        admit=lambda: None,
    )


@pytest.fixture
def batches(ground: Ground) -> StoreBatches:
    return StoreBatches(Alongside(ground.backend()), PARTITIONS)


def manifest(items: int, content: str = "c") -> Manifest:
    return Manifest(batch_id=BATCH, content=content, items=items, total=items, last_line=items)


def chunk(first: int, last: int, *, offset: int = 0, amount: int = 1) -> Chunk:
    """Lines of payouts to Anna."""
    payout, lines = Payout(account_id=ANNA, amount=amount), range(first, last + 1)
    names = [f"{BATCH}#{line}" for line in lines]
    tracked = [
        Tracked(payout, name, name, Track(batch_id=BATCH, line=line))
        for name, line in zip(names, lines, strict=True)
    ]
    return Chunk(1, offset, len(lines), tracked_message(tracked, names[0]))


def replay(carrier: Carrier, dead_letter_id: str) -> None:
    """Queue the envelope of a dead letter as it came, and free its key: what ops do."""
    (raw,) = read(carrier.backend, ("HGET", keys.dead_letters(1), dead_letter_id))
    letter = msgspec.json.decode(raw, type=DeadLetter)
    command = Payout(account_id=letter.account_id, amount=letter.amount)
    key = keys.refusal(*Request(command, partition=1, key=letter.key).refusal_key)
    message = encode_message([msgspec.Raw(letter.raw.encode())], "replay-1")
    freed = plan_of(
        ("SET", key, "", "PX", 1),
        ("HDEL", keys.dead_letters(1), dead_letter_id),
        ("XADD", keys.queue(*BULK), "*", "m", message),
    )
    assert carrier.backend.commit(freed) == []


# Single commands


def test_a_submitted_command_is_kept_from_its_submission_to_its_answer(
    ground: Ground, carrier: Carrier, submissions: Submissions
) -> None:
    """Its intent and its message are written at once; its answer in the commit that gives it."""
    taken = asyncio.run(submissions.submit(Deposit(account_id=ANNA, amount=7), "k", "job"))
    assert (taken.before, taken.reused) == (None, False)
    waiting = asyncio.run(submissions.state(taken.command_id))
    assert waiting is not None
    assert (waiting.status, waiting.intent.kind, waiting.intent.submitted_by) == (
        Status.QUEUED,
        "Deposit",
        "job",
    )
    assert ground.dump()[keys.command(1, taken.command_id)].expires_at == 0

    (answer,) = carrier.work_off(BULK)
    done = asyncio.run(submissions.state(taken.command_id))
    assert done is not None
    assert done.done is not None
    assert (done.status, done.done.answer) == (Status.DONE, answer)
    assert answer.transaction_id == taken.command_id
    kept_ms = ground.dump()[keys.command(1, taken.command_id)].expires_at - done.done.at
    assert abs(kept_ms - STATE_KEPT_MS) < 60_000


def test_a_command_submitted_again_is_the_same_one(carrier: Carrier, submissions: Submissions) -> None:
    """
    Given a command that is submitted twice, and other content under its key
    Expect one message, the same id, and the other content refused.
    """
    command = Deposit(account_id=ANNA, amount=7)
    first, second = (asyncio.run(submissions.submit(command, "k")) for _ in range(2))
    assert second.command_id == first.command_id
    assert second.before is not None
    assert second.before.status is Status.QUEUED
    assert asyncio.run(submissions.submit(Deposit(account_id=ANNA, amount=8), "k")).reused
    assert [answer.balance for answer in carrier.work_off(BULK)] == [7]
    third = asyncio.run(submissions.submit(command, "k"))
    assert third.before is not None
    assert third.before.status is Status.DONE
    assert carrier.waiting(BULK) == []


def test_a_refusal_is_an_answer(carrier: Carrier, submissions: Submissions) -> None:
    taken = asyncio.run(submissions.submit(Withdraw(account_id=ANNA, amount=7), "k"))
    carrier.work_off(BULK)
    state = asyncio.run(submissions.state(taken.command_id))
    assert state is not None
    assert state.done is not None
    assert state.done.answer.outcome is Outcome.ACCOUNT_NOT_FOUND


def test_a_refusal_that_does_not_stick_may_be_asked_again(
    ground: Ground, carrier: Carrier, submissions: Submissions
) -> None:
    """
    Given a payout to an account that is frozen, and thawed again
    If it is submitted once more
    Expect it queued, kept until it is done, and paid once.
    """
    carrier.carry_out((EnsureAccount(account_id=ANNA), ""), (FreezeAccount(account_id=ANNA), ""))
    payout = Payout(account_id=ANNA, amount=7)
    taken = asyncio.run(submissions.submit(payout, "k"))
    carrier.work_off(BULK)
    assert asyncio.run(submissions.submit(replace(payout, amount=8), "k")).reused
    assert carrier.waiting(BULK) == []

    carrier.carry_out((UnfreezeAccount(account_id=ANNA), ""))
    assert asyncio.run(submissions.submit(payout, "k")).before is None
    again = asyncio.run(submissions.submit(payout, "k")).before
    assert again is not None
    assert again.status is Status.QUEUED
    assert ground.dump()[keys.command(1, taken.command_id)].expires_at == 0
    carrier.work_off(BULK)
    done = asyncio.run(submissions.state(taken.command_id))
    assert done is not None
    assert done.done is not None
    assert done.done.answer.balance == 7
    assert asyncio.run(submissions.submit(payout, "k")).before == done


@pytest.mark.usefixtures("ground")
def test_a_refusal_that_sticks_stays(carrier: Carrier, submissions: Submissions) -> None:
    taken = asyncio.run(submissions.submit(Withdraw(account_id=ANNA, amount=1), "k"))
    carrier.work_off(BULK)
    before = asyncio.run(submissions.submit(Withdraw(account_id=ANNA, amount=1), "k")).before
    assert before == asyncio.run(submissions.state(taken.command_id))


def test_a_parked_command_is_done_when_it_was_replayed(
    ground: Ground, carrier: Carrier, submissions: Submissions, broken_payouts: Callable[[], None]
) -> None:
    """
    Given a command that met a fault of ours
    Expect it parked, and kept for as long as it is; and after the fix and a replay done.
    """
    taken = asyncio.run(submissions.submit(Payout(account_id=ANNA, amount=7), "k"))
    carrier.work_off(BULK)
    parked = asyncio.run(submissions.state(taken.command_id))
    assert parked is not None
    assert (parked.status, parked.done) == (Status.PARKED, None)
    assert ground.dump()[keys.command(1, taken.command_id)].expires_at == 0

    broken_payouts()
    replay(carrier, parked.dead_letter_id)
    ground.pass_time(2)
    carrier.work_off(BULK)
    done = asyncio.run(submissions.state(taken.command_id))
    assert done is not None
    assert done.done is not None
    assert (done.status, done.done.answer.ok, done.done.answer.balance) == (Status.DONE, True, 7)


def test_a_command_that_cannot_be_understood_is_parked_under_its_id(
    carrier: Carrier, submissions: Submissions
) -> None:
    """As by a worker of an older release: whoever looks it up learns that it waits for ops."""
    taken = asyncio.run(submissions.submit(Payout(account_id=ANNA, amount=7), "k"))
    (delivery,) = carrier.waiting(BULK)
    newer = delivery.works[0].raw.replace('"kind":"Payout"', '"kind":"PayoutInGold"')
    changed = plan_of(
        ("XDEL", keys.queue(*BULK), delivery.entry_id),
        ("XADD", keys.queue(*BULK), "*", "m", encode_message([msgspec.Raw(newer.encode())], "m")),
    )
    assert carrier.backend.commit(changed) == []
    carrier.work_off(BULK)
    state = asyncio.run(submissions.state(taken.command_id))
    assert state is not None
    assert state.status is Status.PARKED


@pytest.mark.parametrize("command_id", ["", "nobody's", "001-" + "a" * 26])
def test_a_command_that_nobody_submitted_is_not_there(submissions: Submissions, command_id: str) -> None:
    assert asyncio.run(submissions.state(command_id)) is None


# Batches


def test_a_batch_is_opened_once(batches: StoreBatches) -> None:
    """Whoever comes second finds what the first one opened."""
    first, is_new = asyncio.run(batches.open(manifest(3)))
    assert is_new
    other, is_new = asyncio.run(batches.open(manifest(4, content="other")))
    assert not is_new
    assert other == first
    assert asyncio.run(batches.manifest("another")) is None
    assert asyncio.run(batches.view("another")) is None


def test_a_chunk_is_sent_once(ground: Ground, carrier: Carrier, batches: StoreBatches) -> None:
    """
    Given two senders of one batch, both at its beginning
    Expect that the second one writes nothing, and finds how far the first one is.
    """
    opened, _ = asyncio.run(batches.open(manifest(5)))
    assert asyncio.run(batches.send(opened, [chunk(1, 3)]))
    before = ground.dump()
    assert not asyncio.run(batches.send(opened, [chunk(1, 3)]))
    assert ground.dump() == before
    found = asyncio.run(batches.manifest(BATCH))
    assert found is not None
    assert found.sent == {1: 3}
    assert asyncio.run(batches.send(found, [chunk(4, 5, offset=3)]))
    assert len(carrier.work_off(BULK)) == 5
    assert asyncio.run(batches.settled(BATCH, [0, 1])) == {0: 0, 1: 5}


def test_nothing_is_sent_of_a_batch_that_was_cancelled(carrier: Carrier, batches: StoreBatches) -> None:
    """What was sent before is paid; cancelling twice changes nothing."""
    opened, _ = asyncio.run(batches.open(manifest(5)))
    assert asyncio.run(batches.send(opened, [chunk(1, 3)]))
    first, again = (asyncio.run(batches.cancel(BATCH)) for _ in range(2))
    assert first is not None
    assert first.cancelled
    assert again == first
    assert not asyncio.run(batches.send(opened, [chunk(4, 5, offset=3)]))
    carrier.work_off(BULK)
    view = asyncio.run(batches.view(BATCH))
    assert view is not None
    assert (view.sent, view.settled, view.finished) == (3, 3, True)
    assert asyncio.run(batches.cancel("another")) is None


def test_each_line_is_settled_by_what_became_of_it(carrier: Carrier, batches: StoreBatches) -> None:
    """
    Given a line whose key was paid before, one that is new, and one that no balance has room for
    Expect them replayed, applied and refused, and the refused one told whole.
    """
    carrier.carry_out((Payout(account_id=ANNA, amount=1), f"{BATCH}#1"))
    opened, _ = asyncio.run(batches.open(manifest(4)))
    sent = [chunk(1, 2), chunk(3, 3, offset=2, amount=2**53 - 1)]
    for each in sent:
        assert asyncio.run(batches.send(opened, [each]))
    carrier.work_off(BULK)
    view = asyncio.run(batches.view(BATCH))
    assert view is not None
    assert view.counts == Counts(applied=1, replayed=1, refused=1)
    assert not view.finished
    items, next_line = asyncio.run(batches.items(BATCH, after=0, limit=10, failed=False))
    assert [(item.line, item.status) for item in items] == [
        (1, Status.REPLAYED),
        (2, Status.APPLIED),
        (3, Status.REFUSED),
    ]
    assert next_line == 0
    failed, next_line = asyncio.run(batches.items(BATCH, after=1, limit=2, failed=True))
    assert next_line == 3
    (failure,) = (item.failure for item in failed)
    assert failure is not None
    assert (failure.code, failure.account_id, failure.amount) == ("INVALID_AMOUNT", ANNA, 2**53 - 1)
    assert (failure.key, failure.type, failure.dead_letter_id) == (f"{BATCH}#3", "PAYOUT", "")


def test_a_parked_line_is_applied_when_it_was_replayed(
    ground: Ground, carrier: Carrier, batches: StoreBatches, broken_payouts: Callable[[], None]
) -> None:
    opened, _ = asyncio.run(batches.open(manifest(1)))
    assert asyncio.run(batches.send(opened, [chunk(1, 1)]))
    carrier.work_off(BULK)
    (item,), _ = asyncio.run(batches.items(BATCH, after=0, limit=1, failed=True))
    assert item.status is Status.PARKED
    assert item.failure is not None
    broken_payouts()
    replay(carrier, item.failure.dead_letter_id)
    ground.pass_time(2)
    carrier.work_off(BULK)
    view = asyncio.run(batches.view(BATCH))
    assert view is not None
    assert view.counts == Counts(applied=1)


def test_a_line_applied_in_an_earlier_try_was_applied(carrier: Carrier, batches: StoreBatches) -> None:
    """
    Given a chunk of which a worker has carried out the first line alone, and died
    Expect the next worker to find it applied, by this very batch.
    """
    opened, _ = asyncio.run(batches.open(manifest(2)))
    assert asyncio.run(batches.send(opened, [chunk(1, 2)]))
    (delivery,) = carrier.waiting(BULK)
    first, _ = delivery.works
    carrier._execution._settle([first])
    assert asyncio.run(batches.settled(BATCH, [1])) == {1: 1}
    answers = carrier.work_off(BULK)
    assert [answer.replayed for answer in answers] == [True, False]
    view = asyncio.run(batches.view(BATCH))
    assert view is not None
    assert view.counts == Counts(applied=2)


def test_a_lost_partition_settles_nothing(ground: Ground, carrier: Carrier, batches: StoreBatches) -> None:
    """The states are of the commit: where that is refused, they are not written."""
    opened, _ = asyncio.run(batches.open(manifest(1)))
    assert asyncio.run(batches.send(opened, [chunk(1, 1)]))
    unit = Unit(carrier.waiting(BULK))
    Carrier(ground.backend(), "carrier")  # takes the partitions again, under other epochs
    assert carrier._execution.run(unit) == {1}
    assert asyncio.run(batches.settled(BATCH, [1])) == {1: 0}
