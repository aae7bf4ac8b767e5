"""One hand on its way through the service: its bets, its settlement or cancellation, and what came of it."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from app.cli.simulation.caller import check_equal
from app.cli.simulation.hands import Bet, Hand
from app.cli.simulation.seating import Seat
from app.client import (
    AsyncBalanceClient,
    AsyncSeatCashier,
    Payout,
    Pot,
    RakeRule,
    Refused,
    Settlement,
    Showdown,
    Winner,
)

_WHOLE = 10_000  # basis points
# A bet that had to be sent again may arrive behind the settlement; neither refusal sticks to the key.
_TOO_EARLY = frozenset({"POT_NOT_FOUND", "SETTLEMENT_MISMATCH"})


class DealtHand:
    """A hand as PokerKit has played it, with the seats in its order. `hand_id` is one of its table."""

    def __init__(
        self, client: AsyncBalanceClient, table_id: str, hand_id: str, seats: Sequence[Seat], hand: Hand
    ) -> None:
        self._client = client
        self._cashier = AsyncSeatCashier(client)
        self._seats = seats
        self._hand = hand
        self._is_paid = False
        winners = (
            Winner(seats[place].seat_id, seats[place].player.account_id, amount)
            for place, amount in hand.winnings.items()
        )
        folded = tuple(seats[place].seat_id for place in hand.folded)
        self._showdown = Showdown(table_id, hand_id, tuple(winners), folded)

    async def cancel(self, bets: int) -> None:
        """End the hand after so many bets: the stacks are again what they were."""
        showdown = self._showdown
        await _all(map(self._bet, self._hand.bets[:bets]))
        await self._client.cancel_pot(showdown.table_id, showdown.hand_id, reason="misdeal")
        pot = await self._client.get_pot(showdown.table_id, showdown.hand_id)
        check_equal("status of the pot", pot.status, "CANCELLED")
        for seat, stack in zip(self._seats, self._hand.stacks, strict=True):
            seat.stack = stack

    async def play_out(self, *, to_accounts: bool) -> Settlement | None:
        """Send the bets in their order and the settlement right behind, without waiting for any answer.

        None when the settlement found a bet missing: all have arrived now, so settle.
        """
        *_, settled = await _all([*map(self._bet, self._hand.bets), self._settle_early(to_accounts)])
        found: Settlement | None = settled
        return found

    async def settle(self, *, to_accounts: bool) -> Settlement:
        """Pay the winners' accounts, or their stacks; once, however often it is asked for."""
        showdown = self._showdown
        if not to_accounts:
            return await self._cashier.settle_showdown(showdown, self._pay_stacks)
        settled = await self._client.settle_pot(
            showdown.table_id,
            showdown.hand_id,
            showdown.winners,
            folded_seat_ids=showdown.folded_seat_ids,
            idempotency_key=f"settle:{showdown.hand_id}",
        )
        if not self._is_paid:
            self._is_paid = True
            for seat, payout in self._paid_seats(settled.payouts):
                seat.player.changed(payout.amount, payout.new_balance)
        return settled

    async def rake(self, settled: Settlement) -> int:
        """What the house has taken, once the pot shows that every chip went where it belongs."""
        pot = await self._client.get_pot(self._showdown.table_id, self._showdown.hand_id)
        put_in = {self._seats[place].seat_id: chips for place, chips in self._hand.contributions.items()}
        check_equal("contributions", {each.seat_id: each.amount for each in pot.contributions}, put_in)
        check_equal("status of the pot", pot.status, "SETTLED")
        check_equal("results of the pot", pot.results, settled.payouts)
        check_equal("rake by the rule", pot.rake_amount, _rake_of(pot))
        paid = sum(payout.amount for payout in pot.results)
        check_equal("chips paid and taken", paid + pot.rake_amount, sum(put_in.values()))
        return pot.rake_amount

    async def _bet(self, bet: Bet) -> None:
        seat = self._seats[bet.seat_id]
        seat.stack -= bet.amount
        await self._client.record_contribution(
            self._showdown.table_id,
            self._showdown.hand_id,
            seat.seat_id,
            seat.player.account_id,
            bet.amount,
            contribution_type=bet.kind,
        )

    async def _settle_early(self, to_accounts: bool) -> Settlement | None:
        try:
            return await self.settle(to_accounts=to_accounts)
        except Refused as refused:
            if refused.code not in _TOO_EARLY:
                raise
            return None

    async def _pay_stacks(self, payouts: tuple[Payout, ...]) -> None:
        if not self._is_paid:
            self._is_paid = True
            for seat, payout in self._paid_seats(payouts):
                seat.stack += payout.amount

    def _paid_seats(self, payouts: tuple[Payout, ...]) -> Iterable[tuple[Seat, Payout]]:
        """Each winner's seat with what it was paid: no other account, and never more than it has won."""
        winners = sorted(self._showdown.winners, key=lambda winner: winner.seat_id)
        check_equal(
            "accounts paid",
            [payout.account_id for payout in payouts],
            [winner.account_id for winner in winners],
        )
        seats = {seat.seat_id: seat for seat in self._seats}
        for winner, payout in zip(winners, payouts, strict=True):
            check_equal("paid at most what was won", min(payout.amount, winner.amount), payout.amount)
            yield seats[winner.seat_id], payout


async def _all(calls: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The answers to calls sent one right behind the other; raises the first failure once all have ended."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def _rake_of(pot: Pot) -> int:
    """The contract's formula, by the rule that is stored with the pot."""
    rule = pot.rake_rule or RakeRule(0, 0, 0)
    return min(pot.total * rule.basis_points // _WHOLE, rule.cap) if pot.total > rule.min_pot else 0
