"""Commands on pots: contribute, settle, cancel (DESIGN 7, life cycle of CONTRACT 3)."""

from collections import Counter

from msgspec.structs import replace

from app.domain.amounts import credit_fits
from app.domain.commands import TO_TABLE, CancelPot, RecordContribution, SettlePot
from app.domain.identifiers import house_of
from app.domain.outcomes import Answer, Outcome
from app.domain.pots import (
    ACTIVE,
    CANCELLED,
    MAX_POT_ENTRIES,
    SETTLED,
    Contribution,
    Pot,
    cancel,
    open_pot,
    put_in,
)
from app.domain.records import AnswerRecord
from app.domain.rules.case import Case
from app.domain.rules.payment import Payment
from app.domain.settlement import is_eligible, less_rake, side_pots
from app.domain.state import Decision, TableChange


def record_contribution(case: Case, command: RecordContribution) -> Decision:
    """Move chips from in play to the pot, which the first contribution opens; changes no account."""
    pot = case.state.pots[command.pot_key] or open_pot(case.request.record_id, command.pot_key, case.now)
    if pot.status != ACTIVE:
        return case.refuse(Outcome.POT_NOT_ACTIVE)
    account = case.state.accounts[command.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    if (seat := pot.seat(command.seat_id)) is not None and seat.account_id != command.account_id:
        return case.refuse(Outcome.SEAT_TAKEN, detail="account_id")
    if not credit_fits(pot.total, command.amount):
        return case.refuse(Outcome.INVALID_AMOUNT)
    if len(pot.entries) >= MAX_POT_ENTRIES:
        return case.refuse(Outcome.POT_LIMIT)
    in_play = (command.table_id, command.account_id)
    if case.policy.enforce_table_bank and case.state.in_play[in_play] < command.amount:
        return case.refuse(Outcome.NOT_ON_TABLE)
    added = Contribution(seat_id=command.seat_id, account_id=command.account_id, amount=command.amount)
    pot = put_in(pot, added, command.contribution_type, case.now)
    answer = Answer(
        amount=command.amount,
        total_pot=pot.total,
        seat_contribution=command.amount + (seat.amount if seat else 0),
        timestamp=case.now,
    )
    change = TableChange(command.table_id, command.account_id, -command.amount)
    return Decision(answer, tables=(change,), pot=pot, record=_record(case, pot, answer))


def settle_pot(case: Case, command: SettlePot) -> Decision:
    """Pay the whole pot, less rake, or nothing. A settled pot answers the same results to any key."""
    pot = case.state.pots[command.pot_key]
    if pot is None:
        return case.refuse(Outcome.POT_NOT_FOUND)
    if pot.status == CANCELLED:
        return case.refuse(Outcome.POT_NOT_ACTIVE)
    if pot.status == SETTLED:
        answer = Answer(results=pot.results, timestamp=pot.settled_at)
        return Decision(answer, record=_record(case, pot, answer))
    rake = case.policy.rake.of(pot.total)
    if _any_frozen(case, command, rake):
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    claimed = sum(winner.amount for winner in command.winners)
    if claimed not in (pot.total, pot.total - rake):
        return case.refuse(Outcome.SETTLEMENT_MISMATCH)
    won = _won(pot, command)
    if won is None:
        return case.refuse(Outcome.SETTLEMENT_NOT_ELIGIBLE)
    payment = Payment(case, pot)
    paid = less_rake(won, rake) if claimed == pot.total else won
    seats = [replace(seat, amount=paid[seat.seat_id]) for seat in pot.contributions if seat.seat_id in paid]
    payment.pay(seats, to_table=command.payout_to == TO_TABLE)
    if rake:
        payment.take_rake(rake)
    if not payment.fits:
        return case.refuse(Outcome.INVALID_AMOUNT)
    return _settled(case, command, payment, rake)


def cancel_pot(case: Case, command: CancelPot) -> Decision:
    """Put the pot's chips back in play of those who contributed; a cancelled pot answers ok."""
    pot = case.state.pots[command.pot_key]
    if pot is None:
        return case.refuse(Outcome.POT_NOT_FOUND)
    if pot.status == SETTLED:
        return case.refuse(Outcome.POT_NOT_ACTIVE)
    if pot.status == CANCELLED:
        return Decision(Answer(timestamp=pot.cancelled_at))
    refunds = tuple(TableChange(pot.table_id, each.account_id, each.amount) for each in pot.contributions)
    return Decision(Answer(timestamp=case.now), tables=refunds, pot=cancel(pot, command.reason, case.now))


def _any_frozen(case: Case, command: SettlePot, rake: int) -> bool:
    payees = {winner.account_id for winner in command.winners}
    if rake:
        payees.add(house_of(case.request.partition))
    accounts = (case.state.accounts[account_id] for account_id in payees)
    return any(account.frozen for account in accounts if account is not None)


def _won(pot: Pot, command: SettlePot) -> dict[int, int] | None:
    """Chips by seat, the parts of a seat added up; None unless those seats and accounts may win that much."""
    won: Counter[int] = Counter()
    for winner in command.winners:
        seat = pot.seat(winner.seat_id)
        if seat is None or seat.account_id != winner.account_id:
            return None
        won[winner.seat_id] += winner.amount
    return dict(won) if is_eligible(won, pot.by_seat(), command.folded_seat_ids) else None


def _settled(case: Case, command: SettlePot, payment: Payment, rake: int) -> Decision:
    before = payment.pot
    pot = replace(
        before,
        status=SETTLED,
        version=before.version + 1,
        entries=(*before.entries, *payment.entries),
        pots=side_pots(before.by_seat(), command.folded_seat_ids),
        rake_amount=rake,
        rake_rule=case.policy.rake,
        results=tuple(payment.results),
        payout_to=command.payout_to,
        settled_at=case.now,
    )
    answer = Answer(results=pot.results, timestamp=case.now)
    return Decision(
        answer,
        accounts=payment.accounts,
        fingerprint=case.request.fingerprint,
        tables=tuple(payment.tables),
        pot=pot,
        record=_record(case, pot, answer),
    )


def _record(case: Case, pot: Pot, answer: Answer) -> AnswerRecord:
    return AnswerRecord(
        table_id=pot.table_id,
        hand_id=pot.hand_id,
        pot_id=pot.pot_id,
        fingerprint=case.request.fingerprint,
        answer=answer,
    )
