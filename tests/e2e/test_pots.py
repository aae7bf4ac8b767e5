"""Hands as a poker service records them by gRPC: contributions, settlement, cancellation, table, pot."""

import json
from collections.abc import Iterator, Sequence
from uuid import uuid4

import grpc
import pytest

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from tests.support.service import RunningService, balance

TIMEOUT = 10.0
Bet = tuple[int, str, int, str]
"""Seat, account, chips, type."""


@pytest.fixture(scope="module")
def stub(service: RunningService) -> Iterator[BalanceServiceStub]:
    with grpc.insecure_channel(service.grpc) as channel:
        yield BalanceServiceStub(channel)


class Table:
    """One table of a running service, with players of its own."""

    def __init__(self, stub: BalanceServiceStub, **chips: int) -> None:
        self._stub = stub
        self.table_id = f"table-{uuid4().hex}"
        self.players = {name: f"{name}-{uuid4().hex}" for name in chips}
        for name, amount in chips.items():
            self._buy_in(self.players[name], amount)

    def _buy_in(self, account_id: str, amount: int) -> None:
        self._stub.Deposit(
            pb.DepositRequest(account_id=account_id, amount=amount, idempotency_key="d"), timeout=TIMEOUT
        )
        held = self._stub.ReserveForBuyIn(
            pb.ReserveForBuyInRequest(
                account_id=account_id, table_id=self.table_id, amount=amount, idempotency_key="b"
            ),
            timeout=TIMEOUT,
        )
        done = self._stub.CommitReservation(
            pb.CommitReservationRequest(reservation_id=held.reservation_id), timeout=TIMEOUT
        )
        assert done.ok

    def contribution(self, hand_id: str, bet: Bet) -> pb.RecordContributionRequest:
        seat_id, name, amount, kind = bet
        return pb.RecordContributionRequest(
            table_id=self.table_id,
            hand_id=hand_id,
            seat_id=seat_id,
            account_id=self.players[name],
            amount=amount,
            contribution_type=kind,
            idempotency_key=uuid4().hex,
        )

    def bet(self, hand_id: str, *bets: Bet) -> list[pb.RecordContributionResponse]:
        return [
            self._stub.RecordContribution(self.contribution(hand_id, bet), timeout=TIMEOUT) for bet in bets
        ]

    def settlement(
        self,
        hand_id: str,
        winners: Sequence[tuple[int, str, int]],
        payout_to: pb.SettlePotRequest.PayoutTo.ValueType = pb.SettlePotRequest.ACCOUNT,
        folded: Sequence[int] = (),
    ) -> pb.SettlePotRequest:
        return pb.SettlePotRequest(
            table_id=self.table_id,
            hand_id=hand_id,
            winners=[
                pb.PotWinner(seat_id=seat, account_id=self.players[name], amount=amount)
                for seat, name, amount in winners
            ],
            idempotency_key=uuid4().hex,
            payout_to=payout_to,
            folded_seat_ids=folded,
        )

    def settle(self, request: pb.SettlePotRequest) -> pb.SettlePotResponse:
        return self._stub.SettlePot(request, timeout=TIMEOUT)

    def cancel(self, hand_id: str) -> pb.CancelPotResponse:
        return self._stub.CancelPot(
            pb.CancelPotRequest(table_id=self.table_id, hand_id=hand_id, reason="misdeal"), timeout=TIMEOUT
        )

    def pot(self, hand_id: str) -> pb.GetPotResponse:
        return self._stub.GetPot(pb.GetPotRequest(table_id=self.table_id, hand_id=hand_id), timeout=TIMEOUT)

    def chips(self) -> dict[str, int]:
        """In play by player; `pots` is what lies in open ones."""
        view = self._stub.GetTable(pb.GetTableRequest(table_id=self.table_id), timeout=TIMEOUT)
        names = {account_id: name for name, account_id in self.players.items()}
        assert sum(each.total for each in view.open_pots) == view.total_in_pots
        return {names[each.account_id]: each.amount for each in view.in_play} | {"pots": view.total_in_pots}

    def balance(self, name: str) -> int:
        request = pb.GetBalanceRequest(account_id=self.players[name])
        return self._stub.GetBalance(request, timeout=TIMEOUT).balance


def test_a_hand_with_a_side_pot_is_paid_to_the_chip(stub: BalanceServiceStub) -> None:
    """The short stack wins the main pot, another the side pot; the house takes its rake off both."""
    table = Table(stub, anna=100, bert=200, carl=200)
    said = table.bet(
        "h1",
        (1, "anna", 100, "ALL_IN"),
        (2, "bert", 5, "SMALL_BLIND"),
        (2, "bert", 145, "CALL"),
        (3, "carl", 150, "CALL"),
    )
    assert [(each.total_pot, each.seat_contribution) for each in said] == [
        (100, 100),
        (105, 5),
        (250, 150),
        (400, 150),
    ]
    assert table.chips() == {"bert": 50, "carl": 50, "pots": 400}

    open_pot = table.pot("h1").pot
    assert [(each.amount, list(each.seat_ids)) for each in open_pot.side_pots] == [
        (300, [1, 2, 3]),
        (100, [2, 3]),
    ]
    assert [each.type for each in open_pot.entries] == ["BET", "BLIND", "BET", "BET"]

    settle = table.settlement("h1", [(3, "carl", 100), (1, "anna", 300)])
    paid = table.settle(settle)
    assert (paid.ok, paid.error) == (True, "")
    # 5 % of 400 is 20, the cap is 5: of 300 remain 296 (rounded down, and the odd chip), of 100 remain 98.
    assert [(each.account_id, each.amount) for each in paid.results] == [
        (table.players["anna"], 297),
        (table.players["carl"], 98),
    ]
    assert [table.balance(name) for name in ("anna", "bert", "carl")] == [297, 0, 98]
    assert table.settle(settle) == paid
    settle.idempotency_key = "another"
    assert table.settle(settle) == paid
    assert table.chips() == {"bert": 50, "carl": 50, "pots": 0}

    settled = table.pot("h1").pot
    assert (settled.status, settled.total, settled.rake_amount) == ("SETTLED", 400, 5)
    assert settled.rake_rule == pb.RakeRule(basis_points=500, cap=5, min_pot=20)
    assert sum(each.amount for each in settled.entries) == 0


def test_winnings_may_stay_on_the_table(stub: BalanceServiceStub) -> None:
    """Then no account changes; the chips are in play again."""
    table = Table(stub, anna=50, bert=50)
    table.bet("h1", (1, "anna", 10, "BET"), (2, "bert", 10, "BET"))
    paid = table.settle(table.settlement("h1", [(2, "bert", 20)], pb.SettlePotRequest.TABLE, folded=[1]))
    assert [(each.amount, each.transaction_id, each.new_balance) for each in paid.results] == [(20, "", 0)]
    assert table.chips() == {"anna": 40, "bert": 60, "pots": 0}


def test_a_cancelled_hand_gives_everything_back(stub: BalanceServiceStub) -> None:
    """Back in play of those who put it in; cancelled again it answers ok, and cannot be settled."""
    table = Table(stub, anna=50, bert=50)
    table.bet("h1", (1, "anna", 10, "BET"), (2, "bert", 30, "BET"))
    assert [table.cancel("h1") for _ in range(2)] == [pb.CancelPotResponse(ok=True)] * 2
    assert table.chips() == {"anna": 50, "bert": 50, "pots": 0}
    assert table.settle(table.settlement("h1", [(2, "bert", 40)])).error == "POT_NOT_ACTIVE"
    assert [(each.type, each.amount) for each in table.pot("h1").pot.entries][2:] == [
        ("REFUND", -10),
        ("REFUND", -30),
    ]


def test_what_cannot_be_paid_is_refused_and_changes_nothing(stub: BalanceServiceStub) -> None:
    """Each refusal by its code."""
    table = Table(stub, anna=50, bert=50, carl=50)
    assert table.settle(table.settlement("h1", [(1, "anna", 1)])).error == "POT_NOT_FOUND"
    assert table.cancel("h1").error == "POT_NOT_FOUND"
    assert table.pot("h1") == pb.GetPotResponse(error="POT_NOT_FOUND")
    table.bet("h1", (1, "anna", 5, "BET"), (2, "bert", 20, "BET"), (3, "carl", 20, "BET"))
    for winners, folded, error in (
        ([(2, "bert", 44)], [], "SETTLEMENT_MISMATCH"),
        ([(1, "anna", 16), (2, "bert", 29)], [], "SETTLEMENT_NOT_ELIGIBLE"),
        ([(2, "carl", 45)], [], "SETTLEMENT_NOT_ELIGIBLE"),
        ([(2, "bert", 45)], [2], "SETTLEMENT_NOT_ELIGIBLE"),
    ):
        assert table.settle(table.settlement("h1", winners, folded=folded)).error == error
    assert table.chips() == {"anna": 45, "bert": 30, "carl": 30, "pots": 45}


def test_a_settlement_right_behind_its_last_bet_sees_it(stub: BalanceServiceStub) -> None:
    """Nobody waits for the answers between: commands of one pot apply in the order in which they came."""
    table = Table(stub, anna=100, bert=100)
    for number in range(20):
        hand_id = f"h{number}"
        bets = [table.contribution(hand_id, bet) for bet in ((1, "anna", 1, "BET"), (2, "bert", 2, "BET"))]
        pending = [stub.RecordContribution.future(bet, timeout=TIMEOUT) for bet in bets]
        settle = table.settlement(hand_id, [(2, "bert", 3)], pb.SettlePotRequest.TABLE)
        assert stub.SettlePot(settle, timeout=TIMEOUT).ok
        assert all(each.result().ok for each in pending)
    assert table.chips() == {"anna": 80, "bert": 120, "pots": 0}


def test_a_held_reservation_can_be_looked_at(stub: BalanceServiceStub) -> None:
    """By its id and by its account; an unknown one is told as such."""
    account_id = f"dora-{uuid4().hex}"
    stub.Deposit(pb.DepositRequest(account_id=account_id, amount=9, idempotency_key="d"), timeout=TIMEOUT)
    held = stub.ReserveForBuyIn(
        pb.ReserveForBuyInRequest(account_id=account_id, table_id="t", amount=4, idempotency_key="b"),
        timeout=TIMEOUT,
    )
    request = pb.GetReservationRequest(reservation_id=held.reservation_id)
    found = stub.GetReservation(request, timeout=TIMEOUT)
    assert (found.ok, found.reservation.status, found.reservation.amount) == (True, "HELD", 4)
    listed = stub.ListReservations(pb.ListReservationsRequest(account_id=account_id), timeout=TIMEOUT)
    assert list(listed.reservations) == [found.reservation]
    unknown = stub.GetReservation(pb.GetReservationRequest(reservation_id="nonsense"), timeout=TIMEOUT)
    assert unknown == pb.GetReservationResponse(error="RESERVATION_NOT_FOUND")
    stub.CommitReservation(pb.CommitReservationRequest(reservation_id=held.reservation_id), timeout=TIMEOUT)
    assert stub.GetReservation(request, timeout=TIMEOUT).reservation.status == "COMMITTED"
    listed = stub.ListReservations(pb.ListReservationsRequest(account_id=account_id), timeout=TIMEOUT)
    assert not listed.reservations


def test_chips_nobody_brought_are_shown_as_the_table_s_deficit(
    service: RunningService, stub: BalanceServiceStub
) -> None:
    """`observe` lets them leave, and ops see where: by the table, and in the equation of `balance verify`."""
    table = Table(stub, anna=50)
    left = stub.ProcessCashOut(
        pb.ProcessCashOutRequest(
            account_id=table.players["anna"],
            table_id=table.table_id,
            seat_id=1,
            amount=80,
            idempotency_key="c",
        ),
        timeout=TIMEOUT,
    )
    assert left.ok
    shown = balance(service, "table", "show", table.table_id, "--json")
    assert json.loads(shown.stdout)["deficit"] == 30
    assert "deficit" in balance(service, "table", "show", table.table_id).stdout
    report = balance(service, "verify", "--json")
    assert report.returncode == 0, report.stdout
    supply = json.loads(report.stdout)["supply"]
    assert supply["tableDeficits"] >= 30
    assert supply["difference"] == 0
