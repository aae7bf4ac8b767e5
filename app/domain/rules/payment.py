"""The payment of a pot: its effects on accounts, tables and the pot's own entries, seat after seat."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.domain.accounts import Account, Posting, open_account, post
from app.domain.amounts import MAX_CHIPS
from app.domain.identifiers import derive_id, house_of, partition_of
from app.domain.ledger import Metadata, TransactionType
from app.domain.pots import Contribution, EntryType, Pot, PotEntry, SettlementResult
from app.domain.rules.case import Case
from app.domain.state import AccountEffect, TableChange


@dataclass(slots=True)
class Payment:
    """What paying a pot leads to, gathered before any of it counts."""

    case: Case
    pot: Pot
    tables: list[TableChange] = field(default_factory=list)
    entries: list[PotEntry] = field(default_factory=list)
    results: list[SettlementResult] = field(default_factory=list)
    _accounts: dict[str, Account] = field(default_factory=dict)
    _postings: dict[str, list[Posting]] = field(default_factory=lambda: defaultdict(list))

    @property
    def fits(self) -> bool:
        """True when no balance has passed the range of amounts."""
        return all(account.balance <= MAX_CHIPS for account in self._accounts.values())

    @property
    def accounts(self) -> tuple[AccountEffect, ...]:
        """The accounts that have changed, or been opened."""
        return tuple(
            AccountEffect(account, tuple(self._postings[account_id]))
            for account_id, account in self._accounts.items()
            if self._postings[account_id] or self.case.state.accounts[account_id] is None
        )

    def pay(self, seats: Iterable[Contribution], *, to_table: bool) -> None:
        """Pay these seats, to their accounts or back in play. Where rake leaves nothing, nothing moves."""
        for seat in seats:
            transaction_id = "" if to_table or not seat.amount else self._win(seat)
            if to_table and seat.amount:
                self.tables.append(TableChange(self.pot.table_id, seat.account_id, seat.amount))
            if seat.amount:
                self._enter(EntryType.POT_WIN, seat.account_id, seat.amount, transaction_id, seat.seat_id)
            result = SettlementResult(
                seat_id=seat.seat_id,
                account_id=seat.account_id,
                transaction_id=transaction_id,
                amount=seat.amount,
                new_balance=self._account(seat.account_id).balance,
            )
            self.results.append(result)

    def take_rake(self, amount: int) -> None:
        """Pay the house."""
        partition = self.case.request.partition
        house_id = house_of(partition)
        transaction_id = derive_id(partition, "Rake", self.pot.pot_id, "")
        metadata = Metadata(hand_id=self.pot.hand_id, table_id=self.pot.table_id)
        self._credit(house_id, amount, TransactionType.RAKE, metadata, transaction_id)
        self._enter(EntryType.RAKE, house_id, amount, transaction_id)

    def _win(self, seat: Contribution) -> str:
        pot, partition = self.pot, partition_of(seat.account_id, self.case.policy.partitions)
        transaction_id = derive_id(partition, "PotWin", pot.pot_id, str(seat.seat_id))
        metadata = Metadata(hand_id=pot.hand_id, seat_id=seat.seat_id, table_id=pot.table_id)
        self._credit(seat.account_id, seat.amount, TransactionType.POT_WIN, metadata, transaction_id)
        return transaction_id

    def _credit(
        self, account_id: str, amount: int, kind: TransactionType, metadata: Metadata, transaction_id: str
    ) -> None:
        origin = self.case.origin(transaction_id)
        account, posting = post(self._account(account_id), amount, kind, metadata, origin)
        self._accounts[account_id] = account
        self._postings[account_id].append(posting)

    def _account(self, account_id: str) -> Account:
        if account_id not in self._accounts:
            account = self.case.state.accounts[account_id]
            opened_by = self.case.request.command.kind
            self._accounts[account_id] = account or open_account(account_id, opened_by, self.case.now)
        return self._accounts[account_id]

    def _enter(
        self, kind: EntryType, account_id: str, amount: int, transaction_id: str, seat_id: int | None = None
    ) -> None:
        entry = PotEntry(
            n=len(self.pot.entries) + len(self.entries) + 1,
            type=kind,
            amount=-amount,
            account_id=account_id,
            timestamp=self.case.now,
            seat_id=seat_id,
            transaction_id=transaction_id,
        )
        self.entries.append(entry)
