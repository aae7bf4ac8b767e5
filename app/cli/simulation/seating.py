"""Who sits at a simulated table: players buy in, leave with their stacks, and some come back later."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from random import Random

from app.cli.simulation.caller import Unexpected, check_equal
from app.cli.simulation.hands import FEWEST_SEATS
from app.client import AsyncBalanceClient, AsyncSeatCashier, BalanceError, Join, Leave, Transaction

_DEEPEST_STACKS = (6, 40, 300)
"""Short stacks are as likely as deep ones, so that many hands have side pots."""
_LARGEST_RESERVE = 500  # chips beyond the first buy-in
_SEAT_IS_TAKEN = 0.5
_PLAYER_RETURNS = 0.5
_PLAYER_LEAVES = 0.1
_CHIPS_ARE_WITHDRAWN = 0.25


@dataclass(slots=True)
class Bankroll:
    """A player's account as the answers tell it, in chips; `brought` is deposits less withdrawals."""

    account_id: str
    brought: int = 0
    balance: int = 0

    def changed(self, by: int, told: int) -> None:
        """Enter a change, and compare what the service says the balance is now."""
        self.balance += by
        check_equal(f"balance of {self.account_id}", told, self.balance)


@dataclass(slots=True)
class Seat:
    """A seat that is taken, and the stack in front of it."""

    seat_id: int
    player: Bankroll
    stack: int


class Seating:
    """The seats 1 to `seats` of one table. Each step raises Unexpected where a chip is not as it must be."""

    def __init__(self, table_id: str, seats: int, client: AsyncBalanceClient, rng: Random) -> None:
        self.table_id = table_id
        self.everybody: list[Bankroll] = []
        self._seats: dict[int, Seat | None] = dict.fromkeys(range(1, seats + 1))
        self._lobby: list[Bankroll] = []
        self._client = client
        self._cashier = AsyncSeatCashier(client)
        self._rng = rng
        self._numbers = count(1)

    @property
    def taken(self) -> list[Seat]:
        """The seats that are taken, in their order."""
        return [seat for seat in self._seats.values() if seat]

    @property
    def stacks(self) -> dict[str, int]:
        """Chips in play by account."""
        return {seat.player.account_id: seat.stack for seat in self.taken}

    async def fill(self) -> None:
        """Have players sit down: at every seat of a new table, else as chance has it, and two at least."""
        empty = [seat_id for seat_id, seat in self._seats.items() if seat is None]
        is_new = not self.everybody
        for seat_id in empty:
            if is_new or len(self.taken) < FEWEST_SEATS or self._rng.random() < _SEAT_IS_TAKEN:
                await self._sit_down(seat_id)

    async def thin_out(self) -> None:
        """Have those leave who are broke, and by chance others."""
        for seat in self.taken:
            if not seat.stack or self._rng.random() < _PLAYER_LEAVES:
                await self._leave(seat)

    async def close(self) -> None:
        """Have everybody cash out."""
        for seat in self.taken:
            await self._leave(seat)

    async def _sit_down(self, seat_id: int) -> None:
        player = await self._somebody()
        amount = self._rng.randint(1, self._rng.choice(_DEEPEST_STACKS))
        await self._bring(player, amount)
        join = Join(self._new_id("join"), player.account_id, self.table_id, amount)

        async def take_seat() -> bool:
            self._seats[seat_id] = Seat(seat_id, player, amount)
            return True

        async def give_up_seat() -> None:
            self._seats[seat_id] = None

        bought = await self._cashier.join_seat(join, take_seat, give_up_seat)
        self._booked(player, -amount, bought)

    async def _leave(self, seat: Seat) -> None:
        player = seat.player
        leave = Leave(self._new_id("leave"), player.account_id, self.table_id, seat.seat_id, seat.stack)

        async def clear_seat() -> None:
            self._seats[seat.seat_id] = None

        paid = await self._cashier.leave_seat(leave, clear_seat)
        self._booked(player, seat.stack, paid)
        self._lobby.append(player)
        if player.balance and self._rng.random() < _CHIPS_ARE_WITHDRAWN:
            amount = self._rng.randint(1, player.balance)
            withdrawn = await self._client.withdraw(player.account_id, amount)
            player.brought -= amount
            self._booked(player, -amount, withdrawn)

    async def _somebody(self) -> Bankroll:
        """A player who was here before, or a new one."""
        if self._lobby and self._rng.random() < _PLAYER_RETURNS:
            return self._lobby.pop(self._rng.randrange(len(self._lobby)))
        player = Bankroll(f"{self.table_id}-player-{len(self.everybody) + 1}")
        self.everybody.append(player)
        chips = self._rng.randint(0, _LARGEST_RESERVE)
        opened = await self._client.ensure_account(player.account_id, chips)
        player.brought += chips
        player.changed(chips, opened.balance)
        return player

    async def _bring(self, player: Bankroll, amount: int) -> None:
        """Deposit what is missing for a buy-in of that many chips."""
        missing = amount - player.balance
        if missing > 0:
            deposited = await self._client.deposit(player.account_id, missing, source="simulation")
            player.brought += missing
            self._booked(player, missing, deposited)

    def _booked(self, player: Bankroll, by: int, told: Transaction | None) -> None:
        """Enter a transaction; there is none where no chip moved."""
        player.changed(by, told.new_balance if told else player.balance)

    def _new_id(self, deed: str) -> str:
        return f"{self.table_id}-{deed}-{next(self._numbers)}"


@contextmanager
def named(*what: str) -> Iterator[None]:
    """Say where it was that something went wrong, whatever it was."""
    try:
        yield
    except (BalanceError, Unexpected) as problem:
        raise Unexpected(f"{', '.join(what)}: {problem}") from problem
