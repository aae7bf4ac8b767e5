"""What callers believe of pots, written down as plainly as can be: the contract in dicts.

It shares no code with the rules, so that the two can be held against each other.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from app.domain.commands import CancelPot, RecordContribution, SettlePot

MOST = 2**53 - 1
Hand = tuple[str, str]


@dataclass
class ModelPot:
    """Who sits where, what each seat has put in, and what became of it: ACTIVE, SETTLED or CANCELLED."""

    accounts: dict[int, str] = field(default_factory=dict)
    put_in: Counter[int] = field(default_factory=Counter)
    status: str = "ACTIVE"
    results: list[tuple[int, str, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.put_in.values())

    @property
    def rake(self) -> int:
        return min(self.total * 500 // 10_000, 5) if self.total > 20 else 0


@dataclass
class PotModel:
    """Balances, chips in play by (table, account), pots by (table, hand), and the house. Amounts in chips."""

    enforce: bool
    balances: dict[str, int]
    frozen: set[str] = field(default_factory=set)
    in_play: Counter[tuple[str, str]] = field(default_factory=Counter)
    pots: dict[Hand, ModelPot] = field(default_factory=dict)
    house: int = 0

    def chips(self) -> int:
        """All there are, wherever they lie."""
        in_pots = sum(pot.total for pot in self.pots.values() if pot.status == "ACTIVE")
        return sum(self.balances.values()) + sum(self.in_play.values()) + in_pots + self.house

    def take(self, command: Any) -> str:
        """The outcome of a command that nobody has sent before; its effect is the model's from here on."""
        hand = (command.table_id, command.hand_id)
        match command:
            case RecordContribution():
                return self._contribute(hand, command)
            case SettlePot():
                return self._settle(hand, command)
            case CancelPot():
                return self._cancel(hand)
        raise TypeError(command)

    def _contribute(self, hand: Hand, command: RecordContribution) -> str:
        pot = self.pots.get(hand, ModelPot())
        if pot.status != "ACTIVE":
            return "POT_NOT_ACTIVE"
        if command.account_id not in self.balances:
            return "ACCOUNT_NOT_FOUND"
        if command.account_id in self.frozen:
            return "ACCOUNT_FROZEN"
        if pot.accounts.get(command.seat_id, command.account_id) != command.account_id:
            return "SEAT_TAKEN"
        if pot.total + command.amount > MOST:
            return "INVALID_AMOUNT"
        seat = (command.table_id, command.account_id)
        if self.enforce and self.in_play[seat] < command.amount:
            return "NOT_ON_TABLE"
        self.in_play[seat] -= command.amount
        pot.accounts[command.seat_id] = command.account_id
        pot.put_in[command.seat_id] += command.amount
        self.pots[hand] = pot
        return "OK"

    def _settle(self, hand: Hand, command: SettlePot) -> str:
        pot = self.pots.get(hand)
        if pot is None:
            return "POT_NOT_FOUND"
        if pot.status != "ACTIVE":
            return "OK" if pot.status == "SETTLED" else "POT_NOT_ACTIVE"
        if any(winner.account_id in self.frozen for winner in command.winners):
            return "ACCOUNT_FROZEN"
        asked = sum(winner.amount for winner in command.winners)
        if asked not in (pot.total, pot.total - pot.rake):
            return "SETTLEMENT_MISMATCH"
        won: Counter[int] = Counter()
        for winner in command.winners:
            if pot.accounts.get(winner.seat_id) != winner.account_id:
                return "SETTLEMENT_NOT_ELIGIBLE"
            won[winner.seat_id] += winner.amount
        if not may_win(won, pot.put_in, set(command.folded_seat_ids)):
            return "SETTLEMENT_NOT_ELIGIBLE"
        paid = dict(won) if asked == pot.total - pot.rake else raked(won, pot.rake)
        balances = Counter(self.balances)
        for seat, amount in paid.items():
            balances[pot.accounts[seat]] += amount
        if command.payout_to == "ACCOUNT":
            if any(balance > MOST for balance in balances.values()):
                return "INVALID_AMOUNT"
            self.balances = dict(balances)
        else:
            for seat, amount in paid.items():
                self.in_play[command.table_id, pot.accounts[seat]] += amount
        self.house += pot.rake
        pot.status = "SETTLED"
        pot.results = [(seat, pot.accounts[seat], paid[seat]) for seat in sorted(paid)]
        return "OK"

    def _cancel(self, hand: Hand) -> str:
        pot = self.pots.get(hand)
        if pot is None:
            return "POT_NOT_FOUND"
        if pot.status == "SETTLED":
            return "POT_NOT_ACTIVE"
        if pot.status == "ACTIVE":
            for seat, amount in pot.put_in.items():
                self.in_play[hand[0], pot.accounts[seat]] += amount
        pot.status = "CANCELLED"
        return "OK"


def may_win(won: Counter[int], put_in: Counter[int], folded: set[int]) -> bool:
    """Any set of seats wins at most what the deepest of them has matched; a folded one what nobody has."""
    for size in range(1, len(won) + 1):
        for seats in combinations(won, size):
            deepest = max(put_in[seat] for seat in seats)
            if sum(won[seat] for seat in seats) > sum(min(amount, deepest) for amount in put_in.values()):
                return False
    for seat in folded & won.keys():
        others = [amount for other, amount in put_in.items() if other != seat]
        if won[seat] > max(0, put_in[seat] - max(others, default=0)):
            return False
    return True


def raked(won: Counter[int], rake: int) -> dict[int, int]:
    """Shares of what the rake leaves, rounded down; the lowest seats get a chip each until none is left."""
    pot = sum(won.values())
    paid = {seat: amount * (pot - rake) // pot for seat, amount in won.items()}
    for seat in sorted(paid)[: pot - rake - sum(paid.values())]:
        paid[seat] += 1
    return paid
