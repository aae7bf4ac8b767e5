"""A table that plays hand after hand on the service, and after each compares every chip on it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from app.cli.simulation.caller import check_equal
from app.cli.simulation.dealt_hand import DealtHand
from app.cli.simulation.hands import Hand, play_hand
from app.cli.simulation.seating import Seating, named
from app.client import AsyncBalanceClient

_IS_CANCELLED = 0.1
_PAYS_ACCOUNTS = 0.2
_IS_SETTLED_TWICE = 0.1


@dataclass(slots=True)
class Score:
    """Hands of all tables, by how they ended and what was special about them; `rake` in chips.

    `settled_again` counts settlements that found a bet missing: none, unless a call had to be sent again.
    """

    settled: int = 0
    cancelled: int = 0
    rake: int = 0
    side_pots: int = 0
    split_pots: int = 0
    odd_chips: int = 0
    settled_again: int = 0

    @property
    def hands(self) -> int:
        """Hands that have ended."""
        return self.settled + self.cancelled

    def enter(self, hand: Hand, rake: int) -> None:
        """Count a hand that was settled."""
        self.settled += 1
        self.rake += rake
        self.side_pots += len(hand.pots) > 1
        self.split_pots += hand.is_split
        self.odd_chips += hand.has_odd_chip


class PokerTable:
    """Players who sit down, play and leave, all by chance; the same `Random` plays the same evening."""

    def __init__(self, seating: Seating, client: AsyncBalanceClient, score: Score, rng: Random) -> None:
        self.seating = seating
        self._table_id = seating.table_id
        self._client = client
        self._score = score
        self._rng = rng

    async def play(self, hands: int, is_over: Callable[[], bool]) -> None:
        """Play so many hands, or until `is_over`, and have everybody cash out. Raises Unexpected."""
        for number in range(1, hands + 1):
            if is_over():
                break
            with named(self._table_id, f"before hand {number}"):
                await self.seating.fill()
            with named(self._table_id, f"hand {number}"):
                await self._play_hand(number)
                await self._compare()
            with named(self._table_id, f"after hand {number}"):
                await self.seating.thin_out()
        with named(self._table_id, "at the end"):
            await self.seating.close()
            await self._compare()

    async def _play_hand(self, number: int) -> None:
        taken = self.seating.taken
        button = number % len(taken)
        seats = taken[button:] + taken[:button]
        hand = play_hand(self._rng, tuple(seat.stack for seat in seats))
        dealt = DealtHand(self._client, self._table_id, f"hand-{number}", seats, hand)
        if self._rng.random() < _IS_CANCELLED:
            await dealt.cancel(self._rng.randint(1, len(hand.bets)))
            self._score.cancelled += 1
        else:
            self._score.enter(hand, await self._settle(dealt))

    async def _settle(self, dealt: DealtHand) -> int:
        """The rake of the hand."""
        to_accounts = self._rng.random() < _PAYS_ACCOUNTS
        twice = self._rng.random() < _IS_SETTLED_TWICE
        settled = await dealt.play_out(to_accounts=to_accounts)
        if settled is None:
            self._score.settled_again += 1
            settled = await dealt.settle(to_accounts=to_accounts)
        if twice:
            check_equal("settled again", await dealt.settle(to_accounts=to_accounts), settled)
        return await dealt.rake(settled)

    async def _compare(self) -> None:
        """Between hands all chips of the table are in play, where the stacks are."""
        table = await self._client.get_table(self._table_id)
        in_play = {account_id: chips for account_id, chips in table.in_play.items() if chips}
        stacks = {account_id: chips for account_id, chips in self.seating.stacks.items() if chips}
        check_equal("chips in play", in_play, stacks)
        check_equal("chips in open pots", table.open_pots, {})
