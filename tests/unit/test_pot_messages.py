"""Pots, tables and reservations on the wire: every field of a request and of a record has its place."""

import pytest
from google.protobuf.message import Message

from app.domain import commands
from app.domain.outcomes import Answer, Outcome
from app.domain.pots import (
    ACTIVE,
    SETTLED,
    Contribution,
    EntryType,
    Pot,
    PotEntry,
    SettlementResult,
    SidePot,
    cancel,
)
from app.domain.rake import RakeRule
from app.domain.reservations import COMMITTED, HELD, RELEASED, Reservation
from app.domain.validation import Malformed, check_command
from app.rpc import pot_messages
from app.rpc.gen import balance_pb2 as pb
from app.services.lookups import TableView

BEGUN, ENDED = 1_700_000_000_007, 1_700_000_009_000
BEGUN_AT, ENDED_AT = "2023-11-14T22:13:20.007Z", "2023-11-14T22:13:29.000Z"


def settlement(payout_to: int = pb.SettlePotRequest.ACCOUNT) -> pb.SettlePotRequest:
    """A request with every field set."""
    return pb.SettlePotRequest(
        table_id="t",
        hand_id="h",
        winners=[
            pb.PotWinner(seat_id=4, account_id="a", amount=5),
            pb.PotWinner(seat_id=2, account_id="b", amount=6),
        ],
        idempotency_key="k",
        payout_to=payout_to,  # type: ignore[arg-type]
        folded_seat_ids=[7, 3],
    )


def test_a_contribution_becomes_its_command() -> None:
    """Field by field; the key travels beside it."""
    request = pb.RecordContributionRequest(
        table_id="t",
        hand_id="h",
        seat_id=4,
        account_id="a",
        amount=5,
        contribution_type="SMALL_BLIND",
        idempotency_key="k",
    )
    assert pot_messages.contribution(request) == commands.RecordContribution(
        table_id="t", hand_id="h", seat_id=4, account_id="a", amount=5, contribution_type="SMALL_BLIND"
    )


@pytest.mark.parametrize(
    ("place", "payout_to"),
    [
        (pb.SettlePotRequest.ACCOUNT, commands.TO_ACCOUNT),
        (pb.SettlePotRequest.TABLE, commands.TO_TABLE),
    ],
)
def test_a_settlement_becomes_its_command(
    place: pb.SettlePotRequest.PayoutTo.ValueType, payout_to: str
) -> None:
    """Winners and folded seats in the order in which the caller names them."""
    assert pot_messages.settlement(settlement(place)) == commands.SettlePot(
        table_id="t",
        hand_id="h",
        winners=(
            commands.Winner(seat_id=4, account_id="a", amount=5),
            commands.Winner(seat_id=2, account_id="b", amount=6),
        ),
        payout_to=payout_to,
        folded_seat_ids=(7, 3),
    )


def test_an_old_client_is_paid_to_the_account() -> None:
    """It does not know the two newer fields."""
    command = pot_messages.settlement(pb.SettlePotRequest(table_id="t", hand_id="h"))
    assert (command.payout_to, command.folded_seat_ids) == (commands.TO_ACCOUNT, ())


@pytest.mark.parametrize("number", [2, -1, 2_147_483_647])
def test_a_place_for_payouts_that_is_unknown_is_malformed(number: int) -> None:
    """A newer client may name one: the chips must not go somewhere else."""
    received = pb.SettlePotRequest.FromString(settlement(number).SerializeToString())
    with pytest.raises(Malformed) as refused:
        check_command(pot_messages.settlement(received), "k")
    assert refused.value.field == "payout_to"


def test_a_cancellation_becomes_its_command() -> None:
    """The reason too."""
    request = pb.CancelPotRequest(table_id="t", hand_id="h", reason="misdeal")
    assert pot_messages.cancellation(request) == commands.CancelPot(
        table_id="t", hand_id="h", reason="misdeal"
    )


RESULT = SettlementResult(seat_id=4, account_id="a", transaction_id="w", amount=5, new_balance=9)
WIRE_RESULT = pb.SettlementResult(account_id="a", transaction_id="w", amount=5, new_balance=9)
REFUSED = Answer(outcome=Outcome.POT_NOT_ACTIVE)
CODE = "POT_NOT_ACTIVE"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (
            pot_messages.contribution_response(Answer(total_pot=12, seat_contribution=7)),
            pb.RecordContributionResponse(ok=True, total_pot=12, seat_contribution=7),
        ),
        (pot_messages.contribution_response(REFUSED), pb.RecordContributionResponse(error=CODE)),
        (
            pot_messages.settlement_response(Answer(results=(RESULT,))),
            pb.SettlePotResponse(ok=True, results=[WIRE_RESULT]),
        ),
        (pot_messages.settlement_response(REFUSED), pb.SettlePotResponse(error=CODE)),
        (pot_messages.cancellation_response(Answer()), pb.CancelPotResponse(ok=True)),
        (pot_messages.cancellation_response(REFUSED), pb.CancelPotResponse(error=CODE)),
        (pot_messages.pot_response(None), pb.GetPotResponse(error="POT_NOT_FOUND")),
        (pot_messages.reservation_response(None), pb.GetReservationResponse(error="RESERVATION_NOT_FOUND")),
        (pot_messages.reservations_response([]), pb.ListReservationsResponse()),
    ],
)
def test_an_answer_becomes_the_methods_response(response: Message, expected: Message) -> None:
    """A refusal carries its code, and nothing else."""
    assert response == expected


ENTRIES = (
    PotEntry(
        n=1,
        type=EntryType.BLIND,
        amount=20,
        account_id="a",
        timestamp=BEGUN,
        seat_id=4,
        contribution_type="BIG_BLIND",
    ),
    PotEntry(n=2, type=EntryType.BET, amount=30, account_id="b", timestamp=BEGUN, seat_id=6),
)
OPEN = Pot(
    pot_id="003-p",
    table_id="t",
    hand_id="h",
    status=ACTIVE,
    version=2,
    created_at=BEGUN,
    total=50,
    contributions=(
        Contribution(seat_id=4, account_id="a", amount=20),
        Contribution(seat_id=6, account_id="b", amount=30),
    ),
    entries=ENTRIES,
)
RAKE = PotEntry(n=3, type=EntryType.RAKE, amount=-2, account_id="$house-003", timestamp=ENDED)
PAID = Pot(
    pot_id="003-p",
    table_id="t",
    hand_id="h",
    status=SETTLED,
    version=3,
    created_at=BEGUN,
    total=50,
    contributions=OPEN.contributions,
    entries=(*ENTRIES, RAKE),
    pots=(SidePot(amount=50, level=30, seats=(6,)),),
    rake_amount=2,
    rake_rule=RakeRule(basis_points=500, cap=5, minimum=20),
    results=(RESULT,),
    payout_to=commands.TO_ACCOUNT,
    settled_at=ENDED,
)
WIRE_ENTRIES = [
    pb.PotEntry(
        type="BLIND",
        seat_id=4,
        account_id="a",
        amount=20,
        contribution_type="BIG_BLIND",
        created_at=BEGUN_AT,
    ),
    pb.PotEntry(type="BET", seat_id=6, account_id="b", amount=30, created_at=BEGUN_AT),
]
WIRE_SEATS = [
    pb.SeatContribution(seat_id=4, account_id="a", amount=20),
    pb.SeatContribution(seat_id=6, account_id="b", amount=30),
]


def test_an_open_pot_shows_the_side_pots_it_would_have() -> None:
    """An uncalled bet is a pot of its own; what has not come yet is empty."""
    assert pot_messages.pot_response(OPEN) == pb.GetPotResponse(
        ok=True,
        pot=pb.Pot(
            table_id="t",
            hand_id="h",
            status="ACTIVE",
            version=2,
            total=50,
            contributions=WIRE_SEATS,
            side_pots=[pb.SidePot(amount=40, seat_ids=[4, 6]), pb.SidePot(amount=10, seat_ids=[6])],
            entries=WIRE_ENTRIES,
            created_at=BEGUN_AT,
        ),
    )


def test_a_settled_pot_shows_what_it_was_settled_by() -> None:
    """Side pots, rake and results are the record's own, whatever would be computed now."""
    rake = pb.PotEntry(type="RAKE", account_id="$house-003", amount=-2, created_at=ENDED_AT)
    assert pot_messages.pot_response(PAID) == pb.GetPotResponse(
        ok=True,
        pot=pb.Pot(
            table_id="t",
            hand_id="h",
            status="SETTLED",
            version=3,
            total=50,
            contributions=WIRE_SEATS,
            side_pots=[pb.SidePot(amount=50, seat_ids=[6])],
            rake_amount=2,
            rake_rule=pb.RakeRule(basis_points=500, cap=5, min_pot=20),
            results=[WIRE_RESULT],
            entries=[*WIRE_ENTRIES, rake],
            created_at=BEGUN_AT,
            ended_at=ENDED_AT,
        ),
    )


def test_a_cancelled_pot_says_when_it_ended_and_what_went_back() -> None:
    """Refunds by seat."""
    shown = pot_messages.pot_response(cancel(OPEN, "misdeal", ENDED)).pot
    assert (shown.status, shown.version, shown.ended_at) == ("CANCELLED", 3, ENDED_AT)
    assert [(each.type, each.seat_id, each.amount) for each in shown.entries][2:] == [
        ("REFUND", 4, -20),
        ("REFUND", 6, -30),
    ]


def test_a_table_shows_its_chips_in_alphabetical_order() -> None:
    """Also of those who have taken more than they brought: the sum of these is the deficit."""
    view = TableView(table_id="t", in_play={"b": 5, "c": -3, "a": 40}, pots={"h2": 7, "h1": 9})
    assert pot_messages.table_response(view) == pb.GetTableResponse(
        table_id="t",
        in_play=[
            pb.ChipsInPlay(account_id="a", amount=40),
            pb.ChipsInPlay(account_id="b", amount=5),
            pb.ChipsInPlay(account_id="c", amount=-3),
        ],
        open_pots=[pb.OpenPot(hand_id="h1", total=9), pb.OpenPot(hand_id="h2", total=7)],
        total_in_play=42,
        total_in_pots=16,
        deficit=3,
    )


@pytest.mark.parametrize(
    ("status", "committed_at", "released_at", "ended_at"),
    [(HELD, 0, 0, ""), (COMMITTED, ENDED, 0, ENDED_AT), (RELEASED, 0, ENDED, ENDED_AT)],
)
def test_a_reservation_shows_when_it_ended(
    status: str, committed_at: int, released_at: int, ended_at: str
) -> None:
    """However it did; alone or in a list."""
    reservation = Reservation(
        reservation_id="r",
        account_id="a",
        table_id="t",
        amount=30,
        status=status,
        created_at=BEGUN,
        expires_at=ENDED + 1,
        fingerprint="f",
        available_balance=70,
        committed_at=committed_at,
        released_at=released_at,
        transaction_id="x",
    )
    wire = pb.Reservation(
        reservation_id="r",
        account_id="a",
        table_id="t",
        amount=30,
        status=status,
        created_at=BEGUN_AT,
        expires_at="2023-11-14T22:13:29.001Z",
        ended_at=ended_at,
        transaction_id="x",
    )
    assert pot_messages.reservation_response(reservation) == pb.GetReservationResponse(
        ok=True, reservation=wire
    )
    listed = pot_messages.reservations_response([reservation, reservation])
    assert listed == pb.ListReservationsResponse(reservations=[wire, wire])
