"""Payouts that are paid together: every one of them, or none."""

from collections import defaultdict

from app.domain.accounts import Account, Origin, Posting, open_account, post
from app.domain.amounts import credit_fits
from app.domain.commands import Payout, PayTogether
from app.domain.ledger import Metadata, TransactionType
from app.domain.outcomes import Answer, Outcome
from app.domain.replays import stored_answer
from app.domain.rules.case import Case
from app.domain.state import AccountEffect, Decision


def pay_together(case: Case, command: PayTogether) -> Decision:
    """Pay what is not paid yet; a part that cannot be paid refuses all, and `detail` names its line.

    The answer's amount is what was paid now; it is replayed when that is nothing.
    """
    accounts: dict[str, Account] = {}
    postings: dict[str, list[Posting]] = defaultdict(list)
    fingerprints = {}
    for part, request in zip(command.parts, case.request.parts, strict=True):
        if (stored := stored_answer(case.state, request)) is not None:
            if not stored.ok:
                return case.refuse(stored.outcome, detail=stored.detail or str(part.line))
            continue
        account = accounts.get(part.account_id) or case.state.accounts[part.account_id]
        account = account or open_account(part.account_id, Payout.__name__, case.now)
        if account.frozen:
            return case.refuse(Outcome.ACCOUNT_FROZEN, detail=str(part.line))
        if not credit_fits(account.balance, part.amount):
            return case.refuse(Outcome.INVALID_AMOUNT, detail=str(part.line))
        origin = Origin(request.record_id, case.now, request.key, request.command_id)
        kind, metadata = TransactionType(part.type), Metadata(reason=part.reason or None)
        accounts[part.account_id], posting = post(account, part.amount, kind, metadata, origin)
        postings[part.account_id].append(posting)
        fingerprints[request.record_id] = request.fingerprint
    paid = sum(posting.entry.amount for those in postings.values() for posting in those)
    return Decision(
        Answer(amount=paid, replayed=not paid, timestamp=case.now),
        accounts=tuple(AccountEffect(account, tuple(postings[name])) for name, account in accounts.items()),
        fingerprints=fingerprints,
    )
