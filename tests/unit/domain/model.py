"""What callers believe of the service, written down as plainly as can be: the contract in dicts.

It shares no code with the rules, so that the two can be held against each other.
"""

from dataclasses import dataclass, field
from typing import Any

from app.domain.commands import (
    CashOut,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    ExpireReservation,
    Payout,
    Release,
    Reserve,
    Withdraw,
)
from app.domain.outcomes import Answer

MOST = 2**53 - 1


@dataclass
class Hold:
    """A reservation; `ended` is "" until a command ended it. Whether it is past its time, only `now` says."""

    account_id: str
    table_id: str
    amount: int
    until: int
    ended: str = ""


@dataclass
class Model:
    """Balances, holds, chips in play, and what each key was told. Amounts in chips, `now` in ms."""

    now: int
    enforce: bool
    balances: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    in_play: dict[tuple[str, str], int] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    told: dict[tuple[str, str, str], tuple[Command, Answer]] = field(default_factory=dict)
    supply: int = 0

    def available(self, account_id: str) -> int:
        """The balance, less what is held and not past its time."""
        held = [hold for hold in self.holds.values() if hold.account_id == account_id and not hold.ended]
        return self.balances[account_id] - sum(hold.amount for hold in held if self.now < hold.until)

    def take(self, command: Any, new_id: str) -> str:
        """The outcome of a command that nobody has sent before; its effect is the model's from here on."""
        if isinstance(command, Commit | Release | ExpireReservation):
            hold = self.holds.get(command.reservation_id)
            return self._end(command, hold) if hold else "RESERVATION_NOT_FOUND"
        if command.account_id in self.frozen:
            return "ACCOUNT_FROZEN"
        if isinstance(command, EnsureAccount | Deposit | Payout):
            return self._make_chips(command)
        if command.account_id not in self.balances:
            return "ACCOUNT_NOT_FOUND"
        if isinstance(command, CashOut):
            return self._cash_out(command)
        return self._take_available(command, new_id)

    def _make_chips(self, command: EnsureAccount | Deposit | Payout) -> str:
        account_id, exists = command.account_id, command.account_id in self.balances
        if isinstance(command, EnsureAccount):
            if not exists:
                self.balances[account_id], self.versions[account_id] = command.initial_balance, 0
                self.supply += command.initial_balance
            return "OK"
        if self.balances.get(account_id, 0) + command.amount > MOST:
            return "INVALID_AMOUNT"
        self._change(account_id, command.amount)
        self.supply += command.amount
        return "OK"

    def _cash_out(self, command: CashOut) -> str:
        account_id, amount, seat = command.account_id, command.amount, (command.table_id, command.account_id)
        if self.balances[account_id] + amount > MOST:
            return "INVALID_AMOUNT"
        if self.enforce and self.in_play.get(seat, 0) < amount:
            return "NOT_ON_TABLE"
        self._change(account_id, amount)
        self.in_play[seat] = self.in_play.get(seat, 0) - amount
        return "OK"

    def _take_available(self, command: Withdraw | Reserve, new_id: str) -> str:
        account_id, amount = command.account_id, command.amount
        if self.available(account_id) < amount:
            return "INSUFFICIENT_BALANCE"
        if isinstance(command, Reserve):
            until = self.now + 1000 * (command.timeout_seconds or 30)
            self.holds[new_id] = Hold(account_id, command.table_id, amount, until)
        else:
            self._change(account_id, -amount)
            self.supply -= amount
        return "OK"

    def _end(self, command: Commit | Release | ExpireReservation, hold: Hold) -> str:
        past = not hold.ended and self.now >= hold.until
        if isinstance(command, ExpireReservation):
            return "OK"
        if hold.ended == "COMMITTED":
            return "OK" if isinstance(command, Commit) else "ALREADY_COMMITTED"
        if hold.ended == "RELEASED" and isinstance(command, Commit):
            return "RESERVATION_NOT_HELD"
        if hold.account_id in self.frozen:
            return "ACCOUNT_FROZEN"
        if isinstance(command, Release):
            hold.ended = hold.ended or ("" if past else "RELEASED")
            return "OK"
        if past:
            return "RESERVATION_EXPIRED"
        hold.ended = "COMMITTED"
        self._change(hold.account_id, -hold.amount)
        seat = (hold.table_id, hold.account_id)
        self.in_play[seat] = self.in_play.get(seat, 0) + hold.amount
        return "OK"

    def _change(self, account_id: str, amount: int) -> None:
        self.balances[account_id] = self.balances.get(account_id, 0) + amount
        self.versions[account_id] = self.versions.get(account_id, 0) + 1
