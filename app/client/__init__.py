"""The balance service's client, which ships on its own as `balance_client`.

Stands alone: grpc, protobuf, tenacity, the generated stubs and nothing of ours else.
"""

from .aio import AsyncBalanceClient
from .answers import (
    Account,
    Balance,
    Batch,
    BatchItem,
    BatchItems,
    Command,
    CommandAnswer,
    Contribution,
    Payout,
    Pot,
    PotCancelled,
    PotEntry,
    RakeRule,
    Released,
    Reservation,
    ReservationRecord,
    SeatContribution,
    Settlement,
    SidePot,
    Submitted,
    Table,
    Transaction,
)
from .batches import PayoutLine
from .calls import PayoutTo, Winner
from .cashier import AsyncSeatCashier, SeatCashier
from .errors import BalanceError, CallFailed, CircuitOpen, DeadLettered, Refused, Unanswered
from .policy import Policy
from .seats import Join, Leave, Showdown
from .sync import BalanceClient

__all__ = [
    "Account",
    "AsyncBalanceClient",
    "AsyncSeatCashier",
    "Balance",
    "BalanceClient",
    "BalanceError",
    "Batch",
    "BatchItem",
    "BatchItems",
    "CallFailed",
    "CircuitOpen",
    "Command",
    "CommandAnswer",
    "Contribution",
    "DeadLettered",
    "Join",
    "Leave",
    "Payout",
    "PayoutLine",
    "PayoutTo",
    "Policy",
    "Pot",
    "PotCancelled",
    "PotEntry",
    "RakeRule",
    "Refused",
    "Released",
    "Reservation",
    "ReservationRecord",
    "SeatCashier",
    "SeatContribution",
    "Settlement",
    "Showdown",
    "SidePot",
    "Submitted",
    "Table",
    "Transaction",
    "Unanswered",
    "Winner",
]
