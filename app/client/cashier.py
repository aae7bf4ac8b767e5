"""SeatCashier: chips and seats, when a player joins, leaves or wins. `seats` tells each step and crash."""

from collections.abc import Awaitable, Callable
from typing import Any

from . import seats
from .aio import AsyncBalanceClient
from .answers import Payout, Settlement, Transaction
from .calls import Call
from .seats import Join, Leave, Result, Showdown, Step, Steps
from .sync import BalanceClient


class SeatCashier:
    """Moves chips and seats together, from threads. Each method may be called again with the same ids."""

    def __init__(self, client: BalanceClient) -> None:
        self._client = client

    def join_seat(
        self, join: Join, take_seat: Callable[[], bool], give_up_seat: Callable[[], object]
    ) -> Transaction | None:
        """Hold the chips, take the seat, pay. None when `take_seat` said no."""
        return self._drive(seats.join_seat(join, take_seat, give_up_seat))

    def leave_seat(self, leave: Leave, clear_seat: Callable[[], object]) -> Transaction | None:
        """Bring the chips home, then clear the seat. None when there were no chips."""
        return self._drive(seats.leave_seat(leave, clear_seat))

    def settle_showdown(self, showdown: Showdown, pay: Callable[[tuple[Payout, ...]], object]) -> Settlement:
        """Settle the pot, then add to the stacks what the answer says."""
        return self._drive(seats.settle_showdown(showdown, pay))

    def _drive(self, steps: Steps[Result]) -> Result:
        try:
            step = next(steps)
            while True:
                try:
                    came_of_it = self._do(step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(came_of_it)
        except StopIteration as done:
            result: Result = done.value
            return result

    def _do(self, step: Step) -> Any:
        return self._client.send(step) if isinstance(step, Call) else step()


class AsyncSeatCashier:
    """The same on an event loop, with callbacks that are awaited. A cancelled task counts as a death."""

    def __init__(self, client: AsyncBalanceClient) -> None:
        self._client = client

    async def join_seat(
        self,
        join: Join,
        take_seat: Callable[[], Awaitable[bool]],
        give_up_seat: Callable[[], Awaitable[object]],
    ) -> Transaction | None:
        """Hold the chips, take the seat, pay. None when `take_seat` said no."""
        return await self._drive(seats.join_seat(join, take_seat, give_up_seat))

    async def leave_seat(
        self, leave: Leave, clear_seat: Callable[[], Awaitable[object]]
    ) -> Transaction | None:
        """Bring the chips home, then clear the seat. None when there were no chips."""
        return await self._drive(seats.leave_seat(leave, clear_seat))

    async def settle_showdown(
        self, showdown: Showdown, pay: Callable[[tuple[Payout, ...]], Awaitable[object]]
    ) -> Settlement:
        """Settle the pot, then add to the stacks what the answer says."""
        return await self._drive(seats.settle_showdown(showdown, pay))

    async def _drive(self, steps: Steps[Result]) -> Result:
        try:
            step = next(steps)
            while True:
                try:
                    came_of_it = await self._do(step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(came_of_it)
        except StopIteration as done:
            result: Result = done.value
            return result

    async def _do(self, step: Step) -> Any:
        return await (self._client.send(step) if isinstance(step, Call) else step())
