"""What a unit of work leaves to be written: the sum of its decisions, ready for one commit."""

from dataclasses import dataclass, field

from app.domain.accounts import Account, Posting
from app.domain.dead_letters import DeadLetter
from app.domain.pots import Pot, PotKey
from app.domain.records import AnswerRecord, RefusalRecord
from app.domain.requests import RefusalKey, Request
from app.domain.reservations import Reservation
from app.domain.state import Decision, State
from app.services.tracking import Settled


@dataclass(slots=True)
class AccountChange:
    """An account before and after the unit. `before` None means it is opened here."""

    before: Account | None
    after: Account


@dataclass(slots=True)
class PotChange:
    """A pot before and after the unit. `before` None means it is opened here."""

    before: Pot | None
    after: Pot


@dataclass(slots=True)
class LetterChange:
    """A dead letter before and after its replay has run."""

    before: DeadLetter
    after: DeadLetter


@dataclass(slots=True)
class Changes:
    """Records to write, each once, in its last form; ledger links in their order.

    `made` are the reservations that must not exist yet. `in_play` are increments by (table, account);
    `in_play_before` what a decision relied on, compared by the commit. `answers` are permanent records that
    must not exist yet, by the id of their request. `freed` are keys that a dead letter has held until now.
    `settled` are the answers whose states are kept.
    """

    accounts: dict[str, AccountChange] = field(default_factory=dict)
    postings: list[tuple[Posting, str]] = field(default_factory=list)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    refusals: dict[RefusalKey, RefusalRecord] = field(default_factory=dict)
    in_play: dict[tuple[str, str], int] = field(default_factory=dict)
    in_play_before: dict[tuple[str, str], int] = field(default_factory=dict)
    pots: dict[PotKey, PotChange] = field(default_factory=dict)
    answers: dict[str, AnswerRecord] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    replayed: dict[str, LetterChange] = field(default_factory=dict)
    freed: set[RefusalKey] = field(default_factory=set)
    settled: list[Settled] = field(default_factory=list)

    def add(self, state: State, request: Request, decision: Decision) -> None:
        """Take in one decision; call before the state applies it."""
        for effect in decision.accounts:
            self._add_account(state, effect.account)
            self.postings.extend((posting, decision.fingerprint_of(posting)) for posting in effect.postings)
        for reservation in decision.reservations:
            if state.reservations.get(reservation.reservation_id) is None:
                self.made.add(reservation.reservation_id)
            self.reservations[reservation.reservation_id] = reservation
        if decision.pot is not None:
            self._add_pot(state, decision.pot)
        if decision.record is not None:
            self.answers[request.record_id] = decision.record
        if decision.refusal is not None:
            self.refusals[request.refusal_key] = decision.refusal
        if decision.dead_letter is not None:
            self.add_letter(state, decision.dead_letter)
            if decision.dead_letter.closed and request.command.keyed:
                self.freed.add(request.refusal_key)
        for change in decision.tables:
            seat = (change.table_id, change.account_id)
            self.in_play[seat] = self.in_play.get(seat, 0) + change.amount
            if seat in state.in_play:
                self.in_play_before.setdefault(seat, state.in_play[seat])

    def add_letter(self, state: State, after: DeadLetter) -> None:
        """Take in a dead letter whose replay has run; call before the state applies it."""
        change = self.replayed.get(after.dead_letter_id)
        if change is not None:
            change.after = after
        elif (before := state.dead_letters.get(after.dead_letter_id)) is not None:
            self.replayed[after.dead_letter_id] = LetterChange(before, after)

    def _add_account(self, state: State, after: Account) -> None:
        change = self.accounts.get(after.account_id)
        if change is None:
            before = state.accounts.get(after.account_id)
            self.accounts[after.account_id] = AccountChange(before, after)
        else:
            change.after = after

    def _add_pot(self, state: State, after: Pot) -> None:
        change = self.pots.get(after.key)
        if change is None:
            self.pots[after.key] = PotChange(state.pots.get(after.key), after)
        else:
            change.after = after
