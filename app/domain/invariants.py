"""What must hold of every decision, whatever the rule that took it: no chip is made, lost, or owed."""

from collections.abc import Iterator

from app.domain.accounts import Posting
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import Adjust, Command, Deposit, EnsureAccount, Payout, PayTogether, Withdraw
from app.domain.ledger import SOURCES, TransactionType
from app.domain.pots import Pot
from app.domain.state import AccountEffect, Decision, State

_SUPPLY = SOURCES | {TransactionType.WITHDRAW}


class InvariantBroken(AssertionError):
    """A fault of ours: a rule, or a record it relied on, is wrong. The command is not applied."""


def prove(state: State, command: Command, decision: Decision) -> None:
    """Raise InvariantBroken rather than let a decision through that no rule may take."""
    for effect in decision.accounts:
        _prove_account(state, effect)
    if decision.pot is not None:
        _prove_pot(decision.pot)
    _prove_conservation(state, command, decision)


def _prove_account(state: State, effect: AccountEffect) -> None:
    """Within the range, no more held than there is, and every change of the balance in the ledger."""
    account, before = effect.account, state.accounts[effect.account.account_id]
    if not 0 <= account.reserved <= account.balance <= MAX_CHIPS:
        raise InvariantBroken(f"balance {account.balance} with {account.reserved} held")
    balance = before.balance if before else 0
    for posting in effect.postings:
        entry = posting.entry
        if (entry.account_id, entry.balance_before) != (account.account_id, balance):
            raise InvariantBroken("the ledger entry does not follow the one before")
        balance += entry.amount
        if entry.balance_after != balance:
            raise InvariantBroken("the ledger entry does not add up")
    if balance != account.balance or (effect.postings and effect.postings[-1].entry.seq != account.seq):
        raise InvariantBroken("the ledger entries are not the account's change")


def _prove_pot(pot: Pot) -> None:
    """Contributions and entries tell the same story."""
    if not 0 <= pot.total <= MAX_CHIPS or sum(each.amount for each in pot.contributions) != pot.total:
        raise InvariantBroken(f"a pot of {pot.total} that its seats have not put in")
    if sum(entry.amount for entry in pot.entries) != pot.chips:
        raise InvariantBroken(f"{pot.chips} chips in a pot whose entries say otherwise")


def _prove_conservation(state: State, command: Command, decision: Decision) -> None:
    """Accounts + tables + pot change by what the command makes or ends, and the ledger says the same."""
    made = _made(command, decision)
    if sum(each.entry.amount for each in _postings(decision) if each.entry.type in _SUPPLY) != made:
        raise InvariantBroken(f"{made} chips made, but the ledger says otherwise")
    moved = sum(each.entry.amount for each in _postings(decision))
    moved += sum(change.amount for change in decision.tables)
    if decision.pot is not None:
        before = state.pots[decision.pot.key]
        moved += decision.pot.chips - (before.chips if before else 0)
    if moved != made:
        raise InvariantBroken(f"{made} chips made, {moved} accounted for")


def _made(command: Command, decision: Decision) -> int:
    """The chips that enter the supply, or leave it, when the command is applied."""
    if not decision.answer.ok:
        return 0
    match command:
        case Deposit() | Payout():
            return command.amount
        case PayTogether():
            return decision.answer.amount
        case Withdraw():
            return -command.amount
        case Adjust():
            return command.change
        case EnsureAccount():
            return command.initial_balance if decision.answer.created else 0
    return 0


def _postings(decision: Decision) -> Iterator[Posting]:
    for effect in decision.accounts:
        yield from effect.postings
