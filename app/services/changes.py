"""What a unit of work leaves to be written: the sum of its decisions, ready for one commit."""

from dataclasses import dataclass, field

import msgspec

from app.domain.accounts import Account, Posting
from app.domain.ledger import VERSION_FIELD
from app.domain.pots import Pot, PotKey
from app.domain.records import AnswerRecord, RefusalRecord
from app.domain.requests import RefusalKey, Request
from app.domain.reservations import Reservation
from app.domain.state import Decision, State
from app.services.tracking import Settled


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A command that is parked until ops look at it. Times in ms since the epoch, `amount` in chips."""

    v: int = VERSION_FIELD
    dead_letter_id: str
    partition: int
    lane: str
    entry_id: str
    raw: str
    error: str
    attempts: int
    arrived_at: int
    parked_at: int
    kind: str = ""
    key: str = ""
    command_id: str = ""
    account_id: str = ""
    table_id: str = ""
    reservation_id: str = ""
    amount: int = 0


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
class Changes:
    """Records to write, each once, in its last form; ledger links in their order.

    `made` are the reservations that must not exist yet. `in_play` are increments by (table, account);
    `in_play_before` what a decision relied on, compared by the commit. `answers` are permanent records that
    must not exist yet, by the id of their request. `settled` are the answers whose states are kept.
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
        for change in decision.tables:
            seat = (change.table_id, change.account_id)
            self.in_play[seat] = self.in_play.get(seat, 0) + change.amount
            if seat in state.in_play:
                self.in_play_before.setdefault(seat, state.in_play[seat])

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
