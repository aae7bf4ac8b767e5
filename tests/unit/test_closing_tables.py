"""A table that is closed while its hands go on: everybody ends with their chips, and is told so then."""

import asyncio
from collections.abc import Callable
from typing import cast

from app.domain.commands import Command, Commit, Deposit, LeaveTable, RecordContribution, Reserve
from app.domain.outcomes import Answer
from app.services.operations import STILL_IN_PLAY, Closing, Order, close_table, still_in_play
from app.storage.backends.memory import MemoryBackend
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.lookups import StoreLookups
from tests.support.alongside import Alongside
from tests.support.scene import ALICE, PARTITIONS, Scene, named, reservation_id, sealed

TABLE = named("t", 1)
CLOSING = Closing(table_id=TABLE, key="close-1", who="olga", why="w")
Told = list[tuple[str, int, str]]
"""Of each step: who, how many chips, how it ended."""


class Room:
    """A table at which Alice sits with 50 chips, and those who close it."""

    def __init__(self) -> None:
        self._scene = Scene()
        self._owner = self._scene.owner()
        connection = Alongside(MemoryBackend(self._scene.server))
        self._lookups = StoreLookups(cast(AsyncConnection, connection), PARTITIONS)
        self.do(Deposit(account_id=ALICE, amount=100), "d")
        self.do(Reserve(account_id=ALICE, table_id=TABLE, amount=50), "r")
        self.do(Commit(reservation_id=reservation_id(ALICE, "r")))

    @property
    def balance(self) -> int:
        """What Alice has on her account."""
        return self._scene.account(ALICE).balance

    def do(self, command: Command, key: str = "") -> Answer:
        """Have the command carried out."""
        message = self._scene.send(sealed(command, key))
        self._owner.work()
        return self._scene.answers(message)[0]

    def bet(self, amount: int) -> None:
        """Alice puts chips into the pot of a hand."""
        command = RecordContribution(table_id=TABLE, hand_id="h1", seat_id=1, account_id=ALICE, amount=amount)
        assert self.do(command, "c").ok

    def close(self, meanwhile: Callable[[], None] = lambda: None) -> Told:
        """Close the table; `meanwhile` comes between the look at it and the first cash-out."""

        async def perform(order: Order) -> Answer:
            if isinstance(order.command, LeaveTable):
                meanwhile()
            return self.do(order.command, order.key)

        async def close() -> Told:
            steps = await close_table(self._lookups, CLOSING, perform)
            steps += await still_in_play(self._lookups, CLOSING, steps)
            return [(step.subject, step.amount, step.outcome) for step in steps]

        return asyncio.run(close())


def test_a_table_is_closed_once() -> None:
    room = Room()
    assert room.close() == [(ALICE, 50, "OK")]
    assert room.close() == []
    assert room.balance == 100


def test_what_was_in_a_pot_meanwhile_is_brought_back_by_the_next_try() -> None:
    """Given a player who bets all she has between the look and her cash-out. If it is closed again under the
    same key. Expect the pot cancelled, and her chips on her account.
    """
    room = Room()
    assert room.close(meanwhile=lambda: room.bet(50)) == [(ALICE, 0, "OK")]
    assert room.close() == [("h1", 50, "OK"), (ALICE, 50, "OK")]
    assert room.balance == 100


def test_a_part_that_was_in_a_pot_meanwhile_is_brought_back_too() -> None:
    room = Room()
    assert room.close(meanwhile=lambda: room.bet(20)) == [(ALICE, 30, "OK")]
    assert room.close() == [("h1", 20, "OK"), (ALICE, 20, "OK")]
    assert room.balance == 100


def test_who_is_back_with_as_much_is_told_of() -> None:
    """Given a table that was closed, and the same chips there again. Expect no word of all being well."""
    room = Room()
    room.close()
    room.do(Reserve(account_id=ALICE, table_id=TABLE, amount=50), "r2")
    room.do(Commit(reservation_id=reservation_id(ALICE, "r2")))
    assert room.close() == [(ALICE, 50, "OK"), (ALICE, 50, STILL_IN_PLAY)]
