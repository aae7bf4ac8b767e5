"""A settlement that gRPC hands over before the last bet of its hand is asked for once more, under its key."""

import asyncio
from typing import Any, cast

import pytest

from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.rpc.gen import balance_pb2 as pb
from app.rpc.servicer import BalanceServicer
from app.services.front_end import FrontEnd
from app.services.submission import DEFAULT_TIMEOUT_MS

REQUEST = pb.SettlePotRequest(
    table_id="t",
    hand_id="h",
    winners=[pb.PotWinner(seat_id=1, account_id="alice", amount=9)],
    idempotency_key="settle",
)


class Answers:
    """A bus that gives these answers, one after the other, and notes under which keys it was asked."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._answers = iter([Answer(outcome=outcome) for outcome in outcomes])
        self.asked: list[tuple[Command, str]] = []

    paused = False

    async def execute(
        self,
        command: Command,
        *,
        key: str = "",
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        trace: str = "",
        by_ops: bool = False,
    ) -> Answer:
        self.asked.append((command, key))
        return next(self._answers)

    def admit(self) -> None:
        """There is always room."""


class Patient:
    """A caller without a deadline."""

    def time_remaining(self) -> None:
        return None


def settle(bus: Answers) -> pb.SettlePotResponse:
    nothing: Any = None
    servicer = BalanceServicer(
        FrontEnd(
            bus=bus,
            queries=nothing,
            history=nothing,
            lookups=nothing,
            ops=nothing,
            submissions=nothing,
            payouts=nothing,
            close=nothing,
        )
    )
    return asyncio.run(servicer.SettlePot(REQUEST, cast(Any, Patient())))


@pytest.mark.parametrize("early", [Outcome.POT_NOT_FOUND, Outcome.SETTLEMENT_MISMATCH])
def test_the_bet_that_was_overtaken_has_come_by_then(early: Outcome) -> None:
    """The caller sees one settlement, and no refusal."""
    bus = Answers(early, Outcome.OK)
    assert settle(bus).ok
    assert bus.asked[0] == bus.asked[1]


def test_what_is_wrong_twice_is_refused() -> None:
    """Nobody is kept waiting for a bet that was never made."""
    bus = Answers(Outcome.SETTLEMENT_MISMATCH, Outcome.SETTLEMENT_MISMATCH)
    assert settle(bus).error == "SETTLEMENT_MISMATCH"
    assert len(bus.asked) == 2


def test_other_refusals_are_told_at_once() -> None:
    """They would only be the same again."""
    bus = Answers(Outcome.SETTLEMENT_NOT_ELIGIBLE)
    assert settle(bus).error == "SETTLEMENT_NOT_ELIGIBLE"
