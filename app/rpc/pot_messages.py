"""Pots, tables and reservations on the wire: requests to commands, records to responses. Pure."""

from app.domain import commands
from app.domain.outcomes import Answer, Outcome
from app.domain.pots import Pot, PotEntry, SettlementResult
from app.domain.rake import RakeRule
from app.domain.reservations import Reservation
from app.domain.settlement import side_pots_of
from app.rpc.errors import error_code
from app.rpc.gen import balance_pb2 as pb
from app.services.lookups import TableView
from app.services.times import iso_time

_PAYOUT_PLACES = {int(number): name for name, number in pb.SettlePotRequest.PayoutTo.items()}


def contribution(request: pb.RecordContributionRequest) -> commands.RecordContribution:
    return commands.RecordContribution(
        table_id=request.table_id,
        hand_id=request.hand_id,
        seat_id=request.seat_id,
        account_id=request.account_id,
        amount=request.amount,
        contribution_type=request.contribution_type,
    )


def contribution_response(answer: Answer) -> pb.RecordContributionResponse:
    return pb.RecordContributionResponse(
        ok=answer.ok,
        error=error_code(answer),
        total_pot=answer.total_pot,
        seat_contribution=answer.seat_contribution,
    )


def settlement(request: pb.SettlePotRequest) -> commands.SettlePot:
    """The command; a place for payouts that this release does not know is named by its number."""
    winners = (
        commands.Winner(seat_id=each.seat_id, account_id=each.account_id, amount=each.amount)
        for each in request.winners
    )
    return commands.SettlePot(
        table_id=request.table_id,
        hand_id=request.hand_id,
        winners=tuple(winners),
        payout_to=_PAYOUT_PLACES.get(request.payout_to, str(request.payout_to)),
        folded_seat_ids=tuple(request.folded_seat_ids),
    )


def settlement_response(answer: Answer) -> pb.SettlePotResponse:
    return pb.SettlePotResponse(
        ok=answer.ok, error=error_code(answer), results=map(result_shown, answer.results)
    )


def cancellation(request: pb.CancelPotRequest) -> commands.CancelPot:
    return commands.CancelPot(table_id=request.table_id, hand_id=request.hand_id, reason=request.reason)


def cancellation_response(answer: Answer) -> pb.CancelPotResponse:
    return pb.CancelPotResponse(ok=answer.ok, error=error_code(answer))


def pot_response(pot: Pot | None) -> pb.GetPotResponse:
    if pot is None:
        return pb.GetPotResponse(error=Outcome.POT_NOT_FOUND)
    return pb.GetPotResponse(ok=True, pot=_pot(pot))


def table_response(view: TableView) -> pb.GetTableResponse:
    """Accounts and hands in alphabetical order."""
    return pb.GetTableResponse(
        table_id=view.table_id,
        in_play=[pb.ChipsInPlay(account_id=name, amount=view.in_play[name]) for name in sorted(view.in_play)],
        open_pots=[pb.OpenPot(hand_id=name, total=view.pots[name]) for name in sorted(view.pots)],
        total_in_play=sum(view.in_play.values()),
        total_in_pots=sum(view.pots.values()),
        deficit=view.deficit,
    )


def reservation_response(reservation: Reservation | None) -> pb.GetReservationResponse:
    if reservation is None:
        return pb.GetReservationResponse(error=Outcome.RESERVATION_NOT_FOUND)
    return pb.GetReservationResponse(ok=True, reservation=_reservation(reservation))


def reservations_response(reservations: list[Reservation]) -> pb.ListReservationsResponse:
    return pb.ListReservationsResponse(reservations=map(_reservation, reservations))


def _pot(pot: Pot) -> pb.Pot:
    return pb.Pot(
        table_id=pot.table_id,
        hand_id=pot.hand_id,
        status=pot.status,
        version=pot.version,
        total=pot.total,
        contributions=[
            pb.SeatContribution(seat_id=each.seat_id, account_id=each.account_id, amount=each.amount)
            for each in pot.contributions
        ],
        side_pots=[pb.SidePot(amount=each.amount, seat_ids=each.seats) for each in side_pots_of(pot)],
        rake_amount=pot.rake_amount,
        rake_rule=_rake_rule(pot.rake_rule) if pot.rake_rule else None,
        results=map(result_shown, pot.results),
        entries=map(_entry, pot.entries),
        created_at=iso_time(pot.created_at),
        ended_at=_time(pot.settled_at or pot.cancelled_at),
    )


def _rake_rule(rule: RakeRule) -> pb.RakeRule:
    return pb.RakeRule(basis_points=rule.basis_points, cap=rule.cap, min_pot=rule.minimum)


def _entry(entry: PotEntry) -> pb.PotEntry:
    return pb.PotEntry(
        type=entry.type,
        seat_id=entry.seat_id or 0,
        account_id=entry.account_id,
        amount=entry.amount,
        contribution_type=entry.contribution_type,
        created_at=iso_time(entry.timestamp),
    )


def result_shown(result: SettlementResult) -> pb.SettlementResult:
    return pb.SettlementResult(
        account_id=result.account_id,
        transaction_id=result.transaction_id,
        amount=result.amount,
        new_balance=result.new_balance,
    )


def _reservation(reservation: Reservation) -> pb.Reservation:
    return pb.Reservation(
        reservation_id=reservation.reservation_id,
        account_id=reservation.account_id,
        table_id=reservation.table_id,
        amount=reservation.amount,
        status=reservation.status,
        created_at=iso_time(reservation.created_at),
        expires_at=iso_time(reservation.expires_at),
        ended_at=_time(reservation.committed_at or reservation.released_at),
        transaction_id=reservation.transaction_id,
    )


def _time(milliseconds: int) -> str:
    return iso_time(milliseconds) if milliseconds else ""
