"""Commands of ops on an account: freeze, unfreeze, correct, take from a table. See also `rules.accounts`."""

from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN, Account
from app.domain.amounts import credit_fits
from app.domain.commands import Adjust, FreezeAccount, LeaveTable, UnfreezeAccount
from app.domain.ledger import Metadata, TransactionType
from app.domain.outcomes import Answer, Outcome
from app.domain.replays import answer_of_entry
from app.domain.reservations import Reservation
from app.domain.rules.case import Case
from app.domain.state import AccountEffect, Decision, TableChange

ADJUSTMENT = "ADJUSTMENT"
"""The `source` of a correction."""


def freeze_account(case: Case, command: FreezeAccount) -> Decision:
    """Freeze the account; one that is frozen stays so."""
    account = case.state.accounts[command.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    return _with_status(case, account, FROZEN)


def unfreeze_account(case: Case, command: UnfreezeAccount) -> Decision:
    """Thaw the account; refused while the end of its ledger is not what the account says."""
    account = case.state.accounts[command.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if reason := case.state.unsound.get(command.account_id) or case.state.broken.get(command.account_id):
        return case.refuse(Outcome.ACCOUNT_FROZEN, detail=reason)
    return _with_status(case, account, ACTIVE)


def adjust(case: Case, command: Adjust) -> Decision:
    """Make chips on the account, or end available ones, and say which transaction that corrects.

    A correction enters the supply equation as what it is: a deposit or a withdrawal.
    """
    account = case.state.accounts[command.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    if not credit_fits(account.balance, command.change):
        return case.refuse(Outcome.INVALID_AMOUNT)
    expired: tuple[Reservation, ...] = ()
    if command.change < 0:
        swept = case.sweep(account)
        if swept.available < -command.change:
            return case.refuse(Outcome.INSUFFICIENT_BALANCE, available_balance=swept.available, swept=swept)
        account, expired = swept.account, swept.expired
    kind = TransactionType.DEPOSIT if command.change > 0 else TransactionType.WITHDRAW
    metadata = Metadata(corrects=command.corrects, reason=command.reason or None, source=ADJUSTMENT)
    account, posting = case.post(account, command.change, kind, metadata)
    return Decision(
        answer_of_entry(posting.entry),
        accounts=(AccountEffect(account, (posting,)),),
        fingerprint=case.request.fingerprint,
        reservations=expired,
    )


def leave_table(case: Case, command: LeaveTable) -> Decision:
    """Cash out what the account has in play at the table, all of it; the state says how much that is."""
    account = case.state.accounts[command.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    amount = case.state.in_play[command.table_id, command.account_id]
    if not credit_fits(account.balance, amount):
        return case.refuse(Outcome.INVALID_AMOUNT)
    if amount <= 0:
        return case.refuse(Outcome.NOT_ON_TABLE, sticks=False)  # somebody may sit down yet
    metadata = Metadata(reason=command.reason or None, table_id=command.table_id)
    account, posting = case.post(account, amount, TransactionType.CASH_OUT, metadata)
    return Decision(
        answer_of_entry(posting.entry),
        accounts=(AccountEffect(account, (posting,)),),
        fingerprint=case.request.fingerprint,
        tables=(TableChange(command.table_id, command.account_id, -amount),),
    )


def _with_status(case: Case, account: Account, status: str) -> Decision:
    """The account with that status, written only where that changes something."""
    answer = Answer(balance=account.balance)
    if account.status == status:
        return Decision(answer)
    changed = replace(account, status=status, updated_at=case.now)
    return Decision(answer, accounts=(AccountEffect(changed),))
