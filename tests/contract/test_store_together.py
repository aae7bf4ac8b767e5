"""Lines of a batch that are paid together, as the store keeps them: all of them in one commit, or none."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.domain import decide as deciding
from app.domain.commands import Part, Payout, PayTogether
from app.domain.outcomes import Outcome
from app.queueing.envelope import encode_message, tracked_message
from app.services.batches import Chunk, Manifest
from app.services.queue import Lane
from app.services.tracking import Status, Track, Tracked
from app.storage.batches import StoreBatches
from tests.support.alongside import Alongside
from tests.support.carrying import PARTITIONS, Carrier, id_in, ids_in, load_all
from tests.support.grounds import Ground

ANNA = id_in(1)
BULK = (1, Lane.BULK)
BATCH = "b-1"


@pytest.fixture
def batches(ground: Ground) -> StoreBatches:
    return StoreBatches(Alongside(ground.backend()), PARTITIONS)


def manifest(items: int) -> Manifest:
    return Manifest(batch_id=BATCH, content="c", items=items, total=items, last_line=items)


def together(batches: StoreBatches, *amounts: int, account_ids: list[str] | None = None) -> None:
    """Open and send a batch whose lines are paid together."""
    names = account_ids or [ANNA] * len(amounts)
    parts = tuple(
        Part(line=line, key=f"{BATCH}#{line}", account_id=name, amount=amount)
        for line, (name, amount) in enumerate(zip(names, amounts, strict=True), 1)
    )
    command = PayTogether(batch_id=BATCH, parts=parts)
    message = tracked_message([Tracked(command, "", BATCH, Track(batch_id=BATCH))], BATCH)
    opened, _ = asyncio.run(batches.open(manifest(len(parts))))
    assert asyncio.run(batches.send(opened, [Chunk(1, 0, len(parts), message)]))


def states(batches: StoreBatches) -> list[tuple[Status, str]]:
    """What became of each line, and why."""
    items, _ = asyncio.run(batches.items(BATCH, after=0, limit=10, failed=False))
    return [(item.status, item.failure.code if item.failure else "") for item in items]


def test_lines_that_are_paid_together_are_each_a_payout(carrier: Carrier, batches: StoreBatches) -> None:
    """
    Given three lines, of which one was paid before under its key
    Expect the others paid in one commit; each found again as a payout of its own.
    """
    bert = list(zip(range(2), ids_in(1), strict=False))[1][1]
    carrier.carry_out((Payout(account_id=bert, amount=2), f"{BATCH}#2"))
    together(batches, 1, 2, 3, account_ids=[ANNA, bert, ANNA])
    carrier.work_off(BULK)
    assert states(batches) == [(Status.APPLIED, ""), (Status.REPLAYED, ""), (Status.APPLIED, "")]
    answers = carrier.carry_out(
        (Payout(account_id=ANNA, amount=1), f"{BATCH}#1"),
        (Payout(account_id=bert, amount=2), f"{BATCH}#2"),
        (Payout(account_id=ANNA, amount=3), f"{BATCH}#3"),
        (Payout(account_id=ANNA, amount=4), f"{BATCH}#3"),
    )
    assert [answer.outcome for answer in answers[:3]] == [Outcome.OK] * 3
    assert all(answer.replayed for answer in answers[:3])
    assert answers[3].outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    assert answers[2].balance == 4


def test_one_line_that_cannot_be_paid_refuses_all(carrier: Carrier, batches: StoreBatches) -> None:
    """The one is told why, the others that it was because of it; no chip has moved."""
    together(batches, 5, 2**53 - 1, 1)
    carrier.work_off(BULK)
    assert states(batches) == [
        (Status.REFUSED, "ALL_OR_NOTHING"),
        (Status.REFUSED, "INVALID_AMOUNT"),
        (Status.REFUSED, "ALL_OR_NOTHING"),
    ]
    assert load_all(carrier.store, accounts=[ANNA]).accounts[ANNA] is None


def test_a_line_whose_key_an_earlier_dead_letter_holds_is_parked_alone(
    carrier: Carrier, batches: StoreBatches, broken_payouts: Callable[[], None]
) -> None:
    """The others are refused because of it: nothing of this batch waits for a replay."""
    (parked,) = carrier.carry_out((Payout(account_id=ANNA, amount=1), f"{BATCH}#1"))
    broken_payouts()
    together(batches, 1, 2)
    carrier.work_off(BULK)
    assert states(batches) == [(Status.PARKED, "DEAD_LETTERED"), (Status.REFUSED, "ALL_OR_NOTHING")]
    (first, _), _ = asyncio.run(batches.items(BATCH, after=0, limit=10, failed=True))
    assert first.failure is not None
    assert first.failure.dead_letter_id == parked.detail


def test_lines_together_delivered_twice_are_paid_once(carrier: Carrier, batches: StoreBatches) -> None:
    """They carry no key of their own: each part has one."""
    together(batches, 5, 6)
    (delivery,) = carrier.waiting(BULK)
    again = encode_message([msgspec.Raw(delivery.works[0].raw.encode())], "again")
    carrier.work_off(BULK)
    carrier.backend.append([(BULK, again)])
    carrier.work_off(BULK)
    account = load_all(carrier.store, accounts=[ANNA]).accounts[ANNA]
    assert account is not None
    assert account.balance == 11
    assert states(batches) == [(Status.APPLIED, "")] * 2


def test_lines_together_that_meet_a_fault_are_parked_together(
    carrier: Carrier, batches: StoreBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dead letter for all of them."""

    def broken(*_: object) -> Any:
        raise ZeroDivisionError("canary")

    rules: dict[Any, Any] = deciding._RULES
    monkeypatch.setitem(rules, PayTogether, broken)
    together(batches, 5, 6)
    carrier.work_off(BULK)
    items, _ = asyncio.run(batches.items(BATCH, after=0, limit=10, failed=True))
    assert [item.status for item in items] == [Status.PARKED] * 2
    assert len({item.failure.dead_letter_id for item in items if item.failure}) == 1
