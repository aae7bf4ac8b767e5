"""A simulated player: an account, and books of it that are kept from the answers alone."""

from enum import Enum, auto
from itertools import count
from random import Random
from typing import Any

from google.protobuf.message import Message

from app.cli.simulation.caller import REPEATED, Caller, check_equal
from app.rpc.gen import balance_pb2 as pb

_MOST_COPIES = 4
_HOLD_SECONDS = 86_400  # longer than any run: here a hold ends by the player's will alone


class Sending(Enum):
    """How often a request is sent. It has one answer, and one effect, in each case."""

    ONCE = auto()
    AGAIN = auto()
    AT_ONCE = auto()


_WEIGHTS = {Sending.ONCE: 90, Sending.AGAIN: 6, Sending.AT_ONCE: 4}


class Player:
    """Plays under one account id. Amounts in chips; raises Unexpected when an answer contradicts the books.

    `brought` is what came from outside less what went back: the balance, once nothing is in play; `found`
    the balance at the last look. `holds` has table and amount by reservation, `in_play` the chips by table.
    """

    def __init__(self, account_id: str, caller: Caller, rng: Random) -> None:
        self.account_id = account_id
        self.rng = rng
        self.brought = 0
        self.balance = 0
        self.found = 0
        self.holds: dict[str, tuple[str, int]] = {}
        self.in_play: dict[str, int] = {}
        self._caller = caller
        self._key_numbers = count(1)

    @property
    def available(self) -> int:
        """What can be spent: the balance less what is held."""
        return self.balance - sum(amount for _, amount in self.holds.values())

    def new_key(self) -> str:
        """An idempotency key that this account has not used yet."""
        return f"{self.account_id}-{next(self._key_numbers)}"

    async def open(self, amount: int) -> None:
        """Open the account with a first sum."""
        request = pb.EnsureAccountRequest(account_id=self.account_id, initial_balance=amount)
        answer = await self._caller.call("EnsureAccount", request)
        self.brought += amount
        self._book(amount, answer.balance)

    async def deposit(self, amount: int, key: str = "", sending: Sending | None = None) -> None:
        """Bring chips from outside."""
        request = pb.DepositRequest(
            account_id=self.account_id,
            amount=amount,
            source="simulation",
            idempotency_key=key or self.new_key(),
        )
        answer = await self._send("Deposit", request, sending)
        self.brought += amount
        self._book(amount, answer.new_balance)

    async def withdraw(self, amount: int) -> None:
        """Take chips out."""
        request = pb.WithdrawRequest(
            account_id=self.account_id, amount=amount, idempotency_key=self.new_key()
        )
        answer = await self._send("Withdraw", request)
        self.brought -= amount
        self._book(-amount, answer.new_balance)

    async def reserve(self, table_id: str, amount: int) -> str:
        """Hold chips for a seat; the reservation's id."""
        answer = await self._send("ReserveForBuyIn", self.reserve_request(table_id, amount))
        reservation_id: str = answer.reservation_id
        self.holds[reservation_id] = (table_id, amount)
        check_equal(f"available to {self.account_id}", answer.available_balance, self.available)
        return reservation_id

    async def commit(self, reservation_id: str) -> None:
        """Turn a hold into a buy-in."""
        request = pb.CommitReservationRequest(reservation_id=reservation_id)
        answer = await self._send("CommitReservation", request)
        table_id, amount = self.holds.pop(reservation_id)
        self.in_play[table_id] = self.in_play.get(table_id, 0) + amount
        self._book(-amount, answer.new_balance)

    async def release(self, reservation_id: str) -> None:
        """Give a hold back."""
        request = pb.ReleaseReservationRequest(reservation_id=reservation_id, reason="simulation")
        answer = await self._send("ReleaseReservation", request)
        del self.holds[reservation_id]
        check_equal(f"available to {self.account_id}", answer.available_balance, self.available)

    async def cash_out(self, table_id: str, amount: int) -> None:
        """Bring chips home from a table."""
        request = pb.ProcessCashOutRequest(
            account_id=self.account_id,
            table_id=table_id,
            seat_id=1,
            amount=amount,
            idempotency_key=self.new_key(),
        )
        answer = await self._send("ProcessCashOut", request)
        self.in_play[table_id] -= amount
        if not self.in_play[table_id]:
            del self.in_play[table_id]
        self._book(amount, answer.new_balance)

    async def leave(self) -> None:
        """Give all holds back and bring all chips home."""
        for reservation_id in list(self.holds):
            await self.release(reservation_id)
        for table_id, amount in list(self.in_play.items()):
            await self.cash_out(table_id, amount)

    async def look(self) -> None:
        """Compare the account with the books."""
        self.found = 0
        answer = await self._caller.call("GetBalance", pb.GetBalanceRequest(account_id=self.account_id))
        self.found = answer.balance
        check_equal(f"balance of {self.account_id}", answer.balance, self.balance)
        check_equal(f"available to {self.account_id}", answer.available_balance, self.available)

    async def be_refused(self, code: str, method: str, request: Message) -> None:
        """Ask for what must be refused with this code, and change nothing."""
        await self._caller.call(method, request, expect=code)

    def reserve_request(self, table_id: str, amount: int) -> pb.ReserveForBuyInRequest:
        """A request that holds chips, under a new key."""
        return pb.ReserveForBuyInRequest(
            account_id=self.account_id,
            table_id=table_id,
            amount=amount,
            idempotency_key=self.new_key(),
            timeout_seconds=_HOLD_SECONDS,
        )

    async def _send(self, method: str, request: Message, sending: Sending | None = None) -> Any:
        """The answer to a request that may be sent more than once, by chance where it is not said."""
        sending = sending or self.rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if sending is Sending.AT_ONCE:
            return await self._caller.at_once(method, request, self.rng.randint(2, _MOST_COPIES))
        answer = await self._caller.call(method, request)
        if sending is Sending.AGAIN:
            again = await self._caller.call(method, request, expect=REPEATED)
            check_equal(f"{method} sent again", again, answer)
        return answer

    def _book(self, amount: int, told: int) -> None:
        """Enter a change of the balance, and compare what the service says it is now."""
        self.balance += amount
        check_equal(f"balance of {self.account_id}", told, self.balance)
