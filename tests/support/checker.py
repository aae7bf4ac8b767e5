"""Judges the service from outside: from requests and answers alone it recomputes every balance.

It shares no code with the service but the messages, so that a rule wrong there is not wrong here too.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count, permutations
from typing import Any

from google.protobuf.message import Message

from app.rpc.gen import balance_pb2 as pb


@dataclass(eq=False)
class Call:
    """One request and its final answer. `sent` and `answered` are places in the order of all events."""

    account_id: str
    request: Any
    sent: int
    answered: int = 0
    answer: Any = None

    def __str__(self) -> str:
        return f"{self.account_id}: {_line(self.request)} -> {_line(self.answer)}"


class Checker:
    """Records the calls of any number of accounts, then says what cannot have happened.

    Calls of one account that were under way at the same time may have applied in any order, others only in
    the order in which they were made.
    """

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = defaultdict(list)
        self._order = count(1)

    def sent(self, account_id: str, request: Message) -> Call:
        """A request goes out, for this account; its repetitions under the same key are not told."""
        call = Call(account_id, request, next(self._order))
        self.calls[account_id].append(call)
        return call

    def answered(self, call: Call, answer: Message) -> None:
        """The one answer that the caller goes on with."""
        call.answer = answer
        call.answered = next(self._order)

    def problems(self) -> list[str]:
        """What contradicts: an effect missing, applied twice or out of order, an answer that cannot be."""
        return [problem for account_id in self.calls for problem in self._of_account(account_id)]

    def _of_account(self, account_id: str) -> Iterator[str]:
        calls = self.calls[account_id]
        unanswered = [call for call in calls if not call.answered]
        if unanswered:
            yield f"never answered: {unanswered[0]}"
            return
        if not isinstance(calls[-1].request, pb.GetBalanceRequest):
            yield f"{account_id}: the last call does not ask for the balance"
        books = _Books()
        for group in _at_the_same_time(calls):
            problem, books = _explain(books, group)
            if problem:
                yield problem  # what follows is built on it
                return


def _at_the_same_time(calls: list[Call]) -> Iterator[list[Call]]:
    """The calls in groups: each group was answered before the next one was sent."""
    group: list[Call] = []
    for call in calls:
        if group and call.sent > max(earlier.answered for earlier in group):
            yield group
            group = []
        group.append(call)
    yield group


def _explain(books: "_Books", group: list[Call]) -> tuple[str, "_Books"]:
    """The books after one order of the group that fits all its answers, or why none does."""
    if len(group) == 1:
        return books.enter(group[0]), books
    problems = []
    for order in permutations(group):
        trial = books.copy()
        problem = next(filter(None, map(trial.enter, order)), "")
        if not problem:
            return "", trial
        problems.append(problem)
    return f"no order of {len(group)} calls at once fits; first tried: {problems[0]}", books


@dataclass
class _Books:
    """What one account must hold after the calls entered so far. Amounts in chips."""

    opened: bool = False
    balance: int = 0
    held: dict[str, int] = field(default_factory=dict)
    committed: dict[str, Any] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    keys: dict[tuple[str, str], tuple[Message, Message]] = field(default_factory=dict)
    transactions: set[str] = field(default_factory=set)

    @property
    def available(self) -> int:
        return self.balance - sum(self.held.values())

    def copy(self) -> "_Books":
        """Books that can be continued without these."""
        return replace(
            self,
            held=dict(self.held),
            committed=dict(self.committed),
            released=set(self.released),
            keys=dict(self.keys),
            transactions=set(self.transactions),
        )

    def enter(self, call: Call) -> str:
        """Take the call in; why its answer cannot be, or "" when it fits."""
        request, answer = call.request, call.answer
        error = getattr(answer, "error", "")
        known = self._known(request)
        if known is not None:
            same_request, same_answer = known
            expected = "IDEMPOTENCY_KEY_REUSED" if same_request != request else ""
            right = error == expected if expected else answer == same_answer
            return "" if right else f"{call}; the first time it was {_line(same_answer)}"
        expected = self._refusal(request)
        if error != expected:
            return f"{call}; expected {expected or 'ok'} with {self.available} of {self.balance} available"
        self._remember(request, answer)
        return self._apply(call) if not error else ""

    def _known(self, request: Any) -> tuple[Message, Message] | None:
        """The first request and answer of this key; of a commit that was applied, the same."""
        if isinstance(request, pb.CommitReservationRequest):
            answer = self.committed.get(request.reservation_id)
            return None if answer is None else (request, answer)
        return self.keys.get((type(request).__name__, getattr(request, "idempotency_key", "")))

    def _remember(self, request: Any, answer: Any) -> None:
        if getattr(request, "idempotency_key", ""):
            self.keys[type(request).__name__, request.idempotency_key] = (request, answer)

    def _refusal(self, request: Any) -> str:
        """The code with which this request must be refused now, or ""."""
        match request:
            case pb.WithdrawRequest() | pb.ReserveForBuyInRequest() | pb.ProcessCashOutRequest() if (
                not self.opened
            ):
                return "ACCOUNT_NOT_FOUND"
            case pb.WithdrawRequest() | pb.ReserveForBuyInRequest() if request.amount > self.available:
                return "INSUFFICIENT_BALANCE"
            case pb.CommitReservationRequest() if request.reservation_id in self.released:
                return "RESERVATION_NOT_HELD"
            case pb.ReleaseReservationRequest() if request.reservation_id in self.committed:
                return "ALREADY_COMMITTED"
            case pb.CommitReservationRequest() | pb.ReleaseReservationRequest():
                known = request.reservation_id in self.held.keys() | self.released
                return "" if known else "RESERVATION_NOT_FOUND"
        return ""

    def _apply(self, call: Call) -> str:
        request, answer = call.request, call.answer
        match request:
            case pb.EnsureAccountRequest() if not self.opened:
                self.balance = request.initial_balance
                self.opened = True
            case pb.DepositRequest() | pb.ProcessCashOutRequest():
                self.balance += request.amount
                self.opened = True
            case pb.WithdrawRequest():
                self.balance -= request.amount
            case pb.ReserveForBuyInRequest():
                self.held[answer.reservation_id] = request.amount
            case pb.CommitReservationRequest():
                self.balance -= self.held.pop(request.reservation_id)
                self.committed[request.reservation_id] = answer
            case pb.ReleaseReservationRequest():
                self.held.pop(request.reservation_id, None)
                self.released.add(request.reservation_id)
        return self._compare(call)

    def _compare(self, call: Call) -> str:
        """Every figure that the answer tells must be ours, and no transaction may be told twice."""
        figures = {
            "balance": self.balance,
            "new_balance": self.balance,
            "available_balance": self.available,
        }
        for name, expected in figures.items():
            if getattr(call.answer, name, expected) != expected:
                return f"{call}; {name} should be {expected}"
        transaction_id = getattr(call.answer, "transaction_id", "")
        if transaction_id in self.transactions:
            return f"{call}; that transaction was another change before"
        self.transactions |= {transaction_id} - {""}
        return ""


def _line(message: object) -> str:
    return f"{type(message).__name__}({' '.join(str(message).split())})"
