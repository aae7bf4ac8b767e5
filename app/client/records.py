"""Pots, tables and reservations as the service shows them: messages to values. Pure."""

from . import answers
from .gen import balance_pb2 as pb


def payout(message: pb.SettlementResult) -> answers.Payout:
    """What one winner was paid."""
    return answers.Payout(message.account_id, message.transaction_id, message.amount, message.new_balance)


def pot(message: pb.GetPotResponse) -> answers.Pot:
    """The pot of a hand."""
    shown = message.pot
    return answers.Pot(
        table_id=shown.table_id,
        hand_id=shown.hand_id,
        status=shown.status,
        version=shown.version,
        total=shown.total,
        contributions=tuple(
            answers.SeatContribution(each.seat_id, each.account_id, each.amount)
            for each in shown.contributions
        ),
        side_pots=tuple(answers.SidePot(each.amount, tuple(each.seat_ids)) for each in shown.side_pots),
        rake_amount=shown.rake_amount,
        rake_rule=_rake_rule(shown.rake_rule) if shown.HasField("rake_rule") else None,
        results=tuple(map(payout, shown.results)),
        entries=tuple(map(_entry, shown.entries)),
        created_at=shown.created_at,
        ended_at=shown.ended_at,
    )


def table(message: pb.GetTableResponse) -> answers.Table:
    """The chips on a table."""
    return answers.Table(
        table_id=message.table_id,
        in_play={each.account_id: each.amount for each in message.in_play},
        open_pots={each.hand_id: each.total for each in message.open_pots},
        total_in_play=message.total_in_play,
        total_in_pots=message.total_in_pots,
        deficit=message.deficit,
    )


def reservation(message: pb.Reservation) -> answers.ReservationRecord:
    """One reservation."""
    return answers.ReservationRecord(
        reservation_id=message.reservation_id,
        account_id=message.account_id,
        table_id=message.table_id,
        amount=message.amount,
        status=message.status,
        created_at=message.created_at,
        expires_at=message.expires_at,
        ended_at=message.ended_at,
        transaction_id=message.transaction_id,
    )


def _rake_rule(message: pb.RakeRule) -> answers.RakeRule:
    return answers.RakeRule(message.basis_points, message.cap, message.min_pot)


def _entry(message: pb.PotEntry) -> answers.PotEntry:
    return answers.PotEntry(
        type=message.type,
        seat_id=message.seat_id,
        account_id=message.account_id,
        amount=message.amount,
        contribution_type=message.contribution_type,
        created_at=message.created_at,
    )
