"""Batches before they are sent: thousands of lines in messages of a size that travels."""

from typing import Any

import pytest

from app.client import PayoutLine, Refused, batches
from app.client.gen import balance_pb2 as pb
from app.rpc.server import MAX_REQUEST_BYTES


def test_lines_travel_in_messages_that_the_service_takes() -> None:
    """However long they are; each has its number."""
    lines = [PayoutLine("a" * 64, n, "k" * 255, "BONUS", "r" * 255) for n in range(1, 501)]
    call: Any = batches.submit_batch(iter(lines))
    for _ in range(2):  # each attempt sends all of it
        first, *more = call.sent
        assert not first.items
        items = [item for message in more for item in message.items]
        assert [item.line for item in items] == [item.amount for item in items] == [*range(1, 501)]
        assert max(each.ByteSize() for each in more) < MAX_REQUEST_BYTES
    assert items[-1] == pb.PayoutItem(
        line=500, account_id="a" * 64, amount=500, idempotency_key="k" * 255, type="BONUS", reason="r" * 255
    )


def test_a_line_beyond_any_message_is_named() -> None:
    """It would never leave the channel, and be sent again and again."""
    with pytest.raises(ValueError, match="line 2"):
        batches.submit_batch([PayoutLine("a", 1), PayoutLine("a", 1, reason="r" * 70_000)])


def test_a_refused_batch_says_what_is_wrong_with_which_line() -> None:
    refusal = pb.SubmitBatchResponse(
        error="INVALID_BATCH", problems=[pb.LineProblem(line=3, field="amount", message="must be")]
    )
    with pytest.raises(Refused, match="INVALID_BATCH") as refused:
        batches.submit_batch([]).answer(refusal)
    assert refused.value.answer["problems"] == ({"line": 3, "field": "amount", "message": "must be"},)
