"""Commands that change a balance: open, deposit, withdraw, payout, cash-out (CONTRACT 1 to 3)."""

from app.domain.accounts import Account, open_account
from app.domain.amounts import credit_fits
from app.domain.commands import CashOut, Deposit, EnsureAccount, Payout, Withdraw
from app.domain.ledger import Metadata, TransactionType
from app.domain.outcomes import Answer, Outcome
from app.domain.replays import answer_of_entry
from app.domain.rules.case import Case
from app.domain.state import AccountEffect, Decision, TableChange

INITIAL = "INITIAL"
_TYPE_OF_SOURCE = {"BONUS": TransactionType.BONUS, "REFERRAL": TransactionType.REFERRAL}


def ensure_account(case: Case, command: EnsureAccount) -> Decision:
    """Open the account unless it exists; an initial balance is a DEPOSIT that belongs to the creation."""
    account = case.state.accounts[command.account_id]
    if account is not None:
        if account.frozen:
            return case.refuse(Outcome.ACCOUNT_FROZEN)
        return Decision(Answer(balance=account.balance))
    account = open_account(command.account_id, command.kind, case.now)
    if not command.initial_balance:
        return Decision(Answer(created=True), accounts=(AccountEffect(account),))
    account, posting = case.post(
        account, command.initial_balance, TransactionType.DEPOSIT, Metadata(source=INITIAL), initial=True
    )
    answer = Answer(created=True, balance=account.balance, transaction_id=posting.entry.transaction_id)
    return Decision(answer, accounts=(AccountEffect(account, (posting,)),))


def deposit(case: Case, command: Deposit) -> Decision:
    """Make chips on the account. The source decides the type and is kept in the metadata."""
    kind = _TYPE_OF_SOURCE.get(command.source, TransactionType.DEPOSIT)
    return _credit(case, command.account_id, command.amount, kind, Metadata(source=command.source or None))


def payout(case: Case, command: Payout) -> Decision:
    """Pay chips to the account, under the type that the payout names."""
    metadata = Metadata(reason=command.reason or None)
    return _credit(case, command.account_id, command.amount, TransactionType(command.type), metadata)


def withdraw(case: Case, command: Withdraw) -> Decision:
    """Take available chips out of the supply."""
    account = case.state.accounts[command.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    swept = case.sweep(account)
    if swept.available < command.amount:
        return case.refuse(Outcome.INSUFFICIENT_BALANCE, available_balance=swept.available, swept=swept)
    metadata = Metadata(reason=command.reason or None)
    account, posting = case.post(swept.account, -command.amount, TransactionType.WITHDRAW, metadata)
    return Decision(
        answer_of_entry(posting.entry),
        accounts=(AccountEffect(account, (posting,)),),
        fingerprint=case.request.fingerprint,
        reservations=swept.expired,
    )


def cash_out(case: Case, command: CashOut) -> Decision:
    """Bring chips back from the table. Under `enforce`, only chips that were brought there (DESIGN 7)."""
    account = case.state.accounts[command.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    if not credit_fits(account.balance, command.amount):
        return case.refuse(Outcome.INVALID_AMOUNT)
    seat = (command.table_id, command.account_id)
    if case.policy.enforce_table_bank and case.state.in_play[seat] < command.amount:
        return case.refuse(Outcome.NOT_ON_TABLE)
    metadata = Metadata(hand_id=command.hand_id or None, seat_id=command.seat_id, table_id=command.table_id)
    change = TableChange(command.table_id, command.account_id, -command.amount)
    return _posted(case, account, command.amount, TransactionType.CASH_OUT, metadata, (change,))


def _credit(case: Case, account_id: str, amount: int, kind: TransactionType, metadata: Metadata) -> Decision:
    account = case.state.accounts[account_id]
    if account is None:
        account = open_account(account_id, case.request.command.kind, case.now)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    if not credit_fits(account.balance, amount):
        return case.refuse(Outcome.INVALID_AMOUNT)
    return _posted(case, account, amount, kind, metadata)


def _posted(
    case: Case,
    account: Account,
    amount: int,
    kind: TransactionType,
    metadata: Metadata,
    tables: tuple[TableChange, ...] = (),
) -> Decision:
    account, posting = case.post(account, amount, kind, metadata)
    return Decision(
        answer_of_entry(posting.entry),
        accounts=(AccountEffect(account, (posting,)),),
        fingerprint=case.request.fingerprint,
        tables=tables,
    )
