"""The calls of the contract, pure: each function makes the request and says how its answer is read.

Where a call takes an idempotency key and the caller gives none, one is made here, once: each attempt to send
the call sends the same key.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from . import answers, records
from .errors import Refused
from .gen import balance_pb2 as pb
from .keys import key_or_new

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One call, ready to be sent, any number of times. `key` where the request itself has no field for it.

    A call that is a stream of messages has `more` of them behind its request.
    """

    method: str
    request: Message
    read: Callable[[Any], Answer]
    key: str = ""
    more: tuple[Message, ...] | None = None

    @property
    def sent(self) -> Message | Iterator[Message]:
        """What gRPC is given to send, at each attempt."""
        return self.request if self.more is None else chain((self.request,), self.more)

    @property
    def idempotency_key(self) -> str:
        """The request's key; "" for a call that is answered from the state."""
        return self.key or getattr(self.request, "idempotency_key", "")

    def answer(self, message: Message) -> Answer:
        """The answer as a value; raises Refused where the service said no."""
        if not getattr(message, "ok", True):
            raise Refused(self.method, getattr(message, "error", ""), _fields(message))
        return self.read(message)


class PayoutTo(Enum):
    """Where the winners' chips go: to their accounts, or back in play on the table."""

    ACCOUNT = auto()
    TABLE = auto()


@dataclass(frozen=True, slots=True)
class Winner:
    """A seat that is to be paid this much from a pot."""

    seat_id: int
    account_id: str
    amount: int


def get_balance(account_id: str) -> Call[answers.Balance]:
    """Show what an account holds, and what of it is free."""
    return Call("GetBalance", pb.GetBalanceRequest(account_id=account_id), _balance)


def ensure_account(account_id: str, initial_balance: int = 0) -> Call[answers.Account]:
    """Open the account unless it exists; the initial balance counts only when it is opened."""
    request = pb.EnsureAccountRequest(account_id=account_id, initial_balance=initial_balance)
    return Call("EnsureAccount", request, _account)


def deposit(
    account_id: str, amount: int, *, source: str = "", idempotency_key: str | None = None
) -> Call[answers.Transaction]:
    """Add chips from outside; opens the account unless it exists."""
    request = pb.DepositRequest(
        account_id=account_id, amount=amount, source=source, idempotency_key=key_or_new(idempotency_key)
    )
    return Call("Deposit", request, _transaction)


def withdraw(
    account_id: str, amount: int, *, reason: str = "", idempotency_key: str | None = None
) -> Call[answers.Transaction]:
    """Take free chips out."""
    request = pb.WithdrawRequest(
        account_id=account_id, amount=amount, reason=reason, idempotency_key=key_or_new(idempotency_key)
    )
    return Call("Withdraw", request, _transaction)


def reserve(
    account_id: str,
    table_id: str,
    amount: int,
    *,
    timeout_seconds: int = 0,
    idempotency_key: str | None = None,
) -> Call[answers.Reservation]:
    """Hold chips for a seat, for that long (0: as long as the service does by default)."""
    request = pb.ReserveForBuyInRequest(
        account_id=account_id,
        table_id=table_id,
        amount=amount,
        timeout_seconds=timeout_seconds,
        idempotency_key=key_or_new(idempotency_key),
    )
    return Call("ReserveForBuyIn", request, _reservation)


def commit(reservation_id: str) -> Call[answers.Transaction]:
    """Turn a held reservation into a buy-in; committed again it answers the same again."""
    request = pb.CommitReservationRequest(reservation_id=reservation_id)
    return Call("CommitReservation", request, _transaction)


def release(reservation_id: str, *, reason: str = "") -> Call[answers.Released]:
    """Free held chips; released again, or released after it expired, it answers the same."""
    request = pb.ReleaseReservationRequest(reservation_id=reservation_id, reason=reason)
    return Call("ReleaseReservation", request, _released)


def cash_out(
    account_id: str,
    table_id: str,
    seat_id: int,
    amount: int,
    *,
    hand_id: str = "",
    idempotency_key: str | None = None,
) -> Call[answers.Transaction]:
    """Bring the chips of a leaving player back from the table to the account."""
    request = pb.ProcessCashOutRequest(
        account_id=account_id,
        table_id=table_id,
        seat_id=seat_id,
        amount=amount,
        hand_id=hand_id,
        idempotency_key=key_or_new(idempotency_key),
    )
    return Call("ProcessCashOut", request, _transaction)


def record_contribution(
    table_id: str,
    hand_id: str,
    seat_id: int,
    account_id: str,
    amount: int,
    *,
    contribution_type: str,
    idempotency_key: str | None = None,
) -> Call[answers.Contribution]:
    """Add a blind or a bet to the pot of a hand; the first one opens it."""
    request = pb.RecordContributionRequest(
        table_id=table_id,
        hand_id=hand_id,
        seat_id=seat_id,
        account_id=account_id,
        amount=amount,
        contribution_type=contribution_type,
        idempotency_key=key_or_new(idempotency_key),
    )
    return Call("RecordContribution", request, _contribution)


def settle_pot(
    table_id: str,
    hand_id: str,
    winners: Iterable[Winner],
    *,
    payout_to: PayoutTo = PayoutTo.ACCOUNT,
    folded_seat_ids: Iterable[int] = (),
    idempotency_key: str | None = None,
) -> Call[answers.Settlement]:
    """Pay a pot, whole or not at all. What the winners' amounts leave is rake."""
    request = pb.SettlePotRequest(
        table_id=table_id,
        hand_id=hand_id,
        winners=[
            pb.PotWinner(seat_id=each.seat_id, account_id=each.account_id, amount=each.amount)
            for each in winners
        ],
        payout_to=pb.SettlePotRequest.PayoutTo.Value(payout_to.name),
        folded_seat_ids=folded_seat_ids,
        idempotency_key=key_or_new(idempotency_key),
    )
    return Call("SettlePot", request, _settlement)


def cancel_pot(table_id: str, hand_id: str, *, reason: str = "") -> Call[answers.PotCancelled]:
    """Put the pot's chips back in play of those who contributed; cancelled again it answers the same."""
    request = pb.CancelPotRequest(table_id=table_id, hand_id=hand_id, reason=reason)
    return Call("CancelPot", request, lambda _: answers.PotCancelled())


def get_pot(table_id: str, hand_id: str) -> Call[answers.Pot]:
    """Show the pot of a hand: everything that was put into it and paid out of it, 30 days beyond its end."""
    return Call("GetPot", pb.GetPotRequest(table_id=table_id, hand_id=hand_id), records.pot)


def get_table(table_id: str) -> Call[answers.Table]:
    """Show the chips on a table: in play, and in open pots. An unknown table answers with none."""
    return Call("GetTable", pb.GetTableRequest(table_id=table_id), records.table)


def get_reservation(reservation_id: str) -> Call[answers.ReservationRecord]:
    """Show a reservation, 30 days beyond its end too."""
    request = pb.GetReservationRequest(reservation_id=reservation_id)
    return Call("GetReservation", request, lambda message: records.reservation(message.reservation))


def list_reservations(account_id: str) -> Call[tuple[answers.ReservationRecord, ...]]:
    """Show the reservations of an account that are still held, the soonest to expire first."""
    request = pb.ListReservationsRequest(account_id=account_id)
    return Call(
        "ListReservations", request, lambda message: tuple(map(records.reservation, message.reservations))
    )


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for each in message.DESCRIPTOR.fields:
        value = getattr(message, each.name)
        if not each.is_repeated:
            fields[each.name] = value
        elif value:
            fields[each.name] = tuple(map(_fields, value))
    return fields


def _balance(message: pb.GetBalanceResponse) -> answers.Balance:
    return answers.Balance(
        account_id=message.account_id,
        balance=message.balance,
        available_balance=message.available_balance,
        currency=message.currency,
        version=message.version,
        stale=message.stale,
        as_of=message.as_of,
    )


def _account(message: pb.EnsureAccountResponse) -> answers.Account:
    return answers.Account(message.account_id, message.balance, message.created)


def _transaction(message: Any) -> answers.Transaction:
    return answers.Transaction(message.transaction_id, message.new_balance)


def _reservation(message: pb.ReserveForBuyInResponse) -> answers.Reservation:
    return answers.Reservation(message.reservation_id, message.available_balance)


def _released(message: pb.ReleaseReservationResponse) -> answers.Released:
    return answers.Released(message.available_balance)


def _contribution(message: pb.RecordContributionResponse) -> answers.Contribution:
    return answers.Contribution(message.total_pot, message.seat_contribution)


def _settlement(message: pb.SettlePotResponse) -> answers.Settlement:
    return answers.Settlement(tuple(map(records.payout, message.results)))
