"""The house over HTTP: its rake is read and emptied by ops, and by nobody else."""

from uuid import uuid4

import grpc
import pytest

from app.domain.identifiers import house_of, partition_of
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.services.tokens import mint
from tests.support.service import RunningService
from tests.support.web import ask, code_of, opened, post, settings_of

PARTITIONS = 64


@pytest.fixture(scope="module")
def house(service: RunningService) -> str:
    """The house account of a table where a pot of 200 chips was won, 5 of them rake."""
    table_id, winner = uuid4().hex, opened(service, 100)
    with grpc.insecure_channel(service.grpc) as channel:
        stub = BalanceServiceStub(channel)
        for seat_id, account_id in enumerate([winner, opened(service, 100)]):
            bet = pb.RecordContributionRequest(
                table_id=table_id, hand_id="h", seat_id=seat_id, account_id=account_id, amount=100,
                contribution_type="BET", idempotency_key=str(seat_id),
            )  # fmt: skip
            assert stub.RecordContribution(bet).ok
        won = pb.PotWinner(seat_id=0, account_id=winner, amount=200)
        settle = pb.SettlePotRequest(table_id=table_id, hand_id="h", winners=[won], idempotency_key="s")
        assert stub.SettlePot(settle).ok
    return house_of(partition_of(table_id, PARTITIONS))


def test_ops_read_and_empty_the_house(service: RunningService, house: str) -> None:
    """Its transactions are rake; what is taken out is a withdrawal as any."""
    token = mint(settings_of(service), "olga", ["balance:ops"])
    path = f"/api/accounts/{house}"
    rake = ask(service, f"{path}/transactions?type=RAKE&limit=1", token).body["transactions"][0]
    assert (rake["type"], rake["amount"]) == ("RAKE", 5)
    shown = ask(service, f"{path}/transactions/{rake['transactionId']}", token)
    assert (shown.status, shown.body) == (200, rake)
    before = ask(service, f"{path}/balance", token).body["balance"]
    taken = post(service, f"{path}/withdraw", {"amount": 5, "reason": "bank"}, token=token)
    assert (taken.status, taken.body["balanceAfter"]) == (200, before - 5)


def test_services_do_not_see_the_house(service: RunningService, house: str) -> None:
    """Not by its id, and not by the id of one of its transactions."""
    ops = mint(settings_of(service), "olga", ["balance:ops"])
    token = mint(settings_of(service), "poker", ["balance:service"])
    rake = ask(service, f"/api/accounts/{house}/transactions?limit=1", ops).body["transactions"][0]
    answer = ask(service, f"/api/transactions/{rake['transactionId']}", token)
    assert (answer.status, code_of(answer)) == (404, "NOT_FOUND")
    assert ask(service, f"/api/transactions/{rake['transactionId']}", service.token).body == rake


def test_nobody_deposits_with_the_house(service: RunningService, house: str) -> None:
    """Its chips come from pots alone."""
    answer = post(service, f"/api/accounts/{house}/deposit", {"amount": 1, "source": "s"})
    assert (answer.status, code_of(answer)) == (400, "INVALID_ACCOUNT_ID")
