"""What decisions are taken on: records as they were loaded, with the decisions since then applied.

The State of a unit of work is filled by `load`, grown by `apply`, and never outlives the unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.accounts import Account, Posting
from app.domain.dead_letters import DeadLetter
from app.domain.ledger import LedgerEntry
from app.domain.outcomes import Answer
from app.domain.pots import Pot, PotKey
from app.domain.records import AnswerRecord, RefusalRecord, TransactionRecord
from app.domain.requests import RefusalKey, Request
from app.domain.reservations import HELD, Hold, Reservation


@dataclass(slots=True, frozen=True)
class TableChange:
    """Chips that `account_id` brings onto (positive) or takes off (negative) a table: its `in play`."""

    table_id: str
    account_id: str
    amount: int


@dataclass(slots=True, frozen=True)
class AccountEffect:
    """An account as it shall be, and the ledger links that lead there, in their order."""

    account: Account
    postings: tuple[Posting, ...] = ()


@dataclass(slots=True, frozen=True)
class Decision:
    """What one command leads to: its answer, and the records as they shall be. Nothing is applied yet.

    `dead_letter` is the one that a replay was of, as the replay leaves it.
    `fingerprint` goes into the permanent record of each posting, unless `fingerprints` has one for its
    transaction. Accounts, tables and the pot may be on different partitions: each list says by its ids where
    its effects belong.
    """

    answer: Answer
    accounts: tuple[AccountEffect, ...] = ()
    fingerprint: str = ""
    reservations: tuple[Reservation, ...] = ()
    tables: tuple[TableChange, ...] = ()
    pot: Pot | None = None
    record: AnswerRecord | None = None
    refusal: RefusalRecord | None = None
    dead_letter: DeadLetter | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def fingerprint_of(self, posting: Posting) -> str:
        """What goes into the permanent record of the posting."""
        return self.fingerprints.get(posting.entry.transaction_id, self.fingerprint)


@dataclass(slots=True)
class State:
    """Records by id. A key with value None was looked up and is absent; a missing key was never loaded.

    `in_play` is by (table, account), `pots` by (table, hand), `answers` by the request's derived id; `broken`
    says why the ledger of an account cannot be built on, `unsound` the same of one that was frozen before.
    `ahead` is how far the time to decide at is ahead of the store's clock (ms), which was set back then:
    waiting is measured by the clock.
    """

    accounts: dict[str, Account | None] = field(default_factory=dict)
    holds: dict[str, dict[str, Hold]] = field(default_factory=dict)
    reservations: dict[str, Reservation | None] = field(default_factory=dict)
    transactions: dict[str, TransactionRecord | None] = field(default_factory=dict)
    entries: dict[tuple[str, int], LedgerEntry | None] = field(default_factory=dict)
    refusals: dict[RefusalKey, RefusalRecord | None] = field(default_factory=dict)
    in_play: dict[tuple[str, str], int] = field(default_factory=dict)
    pots: dict[PotKey, Pot | None] = field(default_factory=dict)
    answers: dict[str, AnswerRecord | None] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    unsound: dict[str, str] = field(default_factory=dict)
    dead_letters: dict[str, DeadLetter | None] = field(default_factory=dict)
    ahead: int = 0

    def apply(self, decision: Decision, request: Request) -> None:
        """Let later decisions of the unit see this one."""
        for account_change in decision.accounts:
            self.accounts[account_change.account.account_id] = account_change.account
            for posting in account_change.postings:
                self._apply_posting(posting, decision.fingerprint_of(posting))
        for reservation in decision.reservations:
            self._apply_reservation(reservation)
        if decision.pot is not None:
            self.pots[decision.pot.key] = decision.pot
        if decision.record is not None:
            self.answers[request.record_id] = decision.record
        if decision.refusal is not None:
            self.refusals[request.refusal_key] = decision.refusal
        if decision.dead_letter is not None:
            self.dead_letters[decision.dead_letter.dead_letter_id] = decision.dead_letter
        for change in decision.tables:
            seat = (change.table_id, change.account_id)
            if seat in self.in_play:
                self.in_play[seat] += change.amount

    def _apply_reservation(self, reservation: Reservation) -> None:
        self.reservations[reservation.reservation_id] = reservation
        holds = self.holds.setdefault(reservation.account_id, {})
        if reservation.status == HELD:
            holds[reservation.reservation_id] = Hold(reservation.amount, reservation.expires_at)
        else:
            holds.pop(reservation.reservation_id, None)

    def _apply_posting(self, posting: Posting, fingerprint: str) -> None:
        entry = posting.entry
        self.entries[entry.account_id, entry.seq] = entry
        self.transactions[entry.transaction_id] = TransactionRecord(
            account_id=entry.account_id, seq=entry.seq, fingerprint=fingerprint
        )
