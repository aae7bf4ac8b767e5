"""`balance simulate --hands`: full hands on real services, under both table banks, and on one that lies."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest

from app.client import BalanceClient, Join, Leave, Refused, SeatCashier, Winner
from app.client.gen import balance_pb2 as pb
from tests.e2e.test_simulate import simulate
from tests.support.service import RunningService, balance, running_service

BANKS = ["observe", "enforce"]
# Its 40 hands at two tables have all that a hand can have, an odd chip in a split pot too.
SEED = "17"
SOAK = [pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", params=BANKS)
def bank(request: pytest.FixtureRequest) -> Iterator[tuple[RunningService, str]]:
    """A service of its own under each table bank: nobody else's chips are on it."""
    with running_service(TABLE_BANK=request.param) as running:
        yield running, request.param


@pytest.mark.parametrize(
    ("hands", "tables"), [("40", "2"), pytest.param("500", "4", marks=SOAK)], ids=["40 hands", "500 hands"]
)
def test_hands_neither_make_nor_lose_a_chip(
    hands: str, tables: str, bank: tuple[RunningService, str]
) -> None:
    """All that was brought and not taken home is on the accounts, but for what the house has taken."""
    service, _ = bank
    before = supply(service)
    arguments = ["--hands", hands, "--players", "6", "--tables", tables, "--seed", SEED, "--json"]
    result = balance(service, "simulate", *arguments)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert result.stderr == ""

    # Expect: every hand was played, of each kind some, and the settlements found their bets.
    assert report["settled"] + report["cancelled"] == report["hands"] == int(hands)
    assert min(report[kind] for kind in ("cancelled", "sidePots", "splitPots", "oddChips")) > 0
    assert report["players"] > 6 * int(tables)
    assert report["settledAgain"] <= int(hands) // 10
    assert report["errors"] == 0

    # Expect: the auditor, who knows nothing of hands, finds the same chips.
    after = supply(service)
    assert report["found"] == report["expected"] == growth(before, after, "deposits", "withdrawals")
    assert growth(before, after, "house") == report["rake"] > 0
    assert growth(before, after, "inPlay") == growth(before, after, "tableDeficits") == after["inPots"] == 0


def supply(service: RunningService) -> dict[str, int]:
    """The supply equation, from a store in which everything is as it must be."""
    result = balance(service, "verify", "--json")
    assert result.returncode == 0, result.stdout
    found: dict[str, int] = json.loads(result.stdout)["supply"]
    return found


def growth(before: dict[str, int], after: dict[str, int], plus: str, minus: str = "") -> int:
    """How much a term of the equation has grown, less another one."""
    grown = after[plus] - before[plus]
    return grown - (after[minus] - before[minus]) if minus else grown


def new_id() -> str:
    """An account or table that nobody else uses."""
    return uuid4().hex


def test_an_engine_that_credits_winnings_twice_makes_no_chips(bank: tuple[RunningService, str]) -> None:
    """Paid to the account, and added to the stack as well: refused, or shown with table and amount."""
    service, mode = bank
    table_id, anna, bert = new_id(), new_id(), new_id()
    cleared: list[str] = []
    with BalanceClient(service.grpc) as client:
        # Given: two stacks of 100, and a pot of 100 that is paid to anna's account.
        cashier = SeatCashier(client)
        for seat_id, account_id in enumerate((anna, bert), 1):
            client.ensure_account(account_id, 100)
            cashier.join_seat(Join(new_id(), account_id, table_id, 100), lambda: True, lambda: None)
            client.record_contribution(table_id, "h1", seat_id, account_id, 50, contribution_type="BET")
        (won,) = client.settle_pot(table_id, "h1", [Winner(1, anna, 100)]).payouts
        assert (won.amount, won.new_balance) == (95, 95)

        # If: her stack is cashed out as if the winnings lay there too.
        too_much = Leave(new_id(), anna, table_id, 1, 50 + won.amount)
        if mode == "enforce":
            with pytest.raises(Refused, match="NOT_ON_TABLE"):
                cashier.leave_seat(too_much, lambda: cleared.append(anna))
        else:
            cashier.leave_seat(too_much, lambda: cleared.append(anna))

        # Expect: no chip has left that was not there, or ops see how many have, and where.
        deficit = 0 if mode == "enforce" else won.amount
        in_play = {anna: 50 if mode == "enforce" else -deficit, bert: 50}
        table = client.get_table(table_id)
        assert (table.in_play, table.deficit, bool(cleared)) == (in_play, deficit, mode == "observe")
    shown = json.loads(balance(service, "table", "show", table_id, "--json").stdout)
    assert (shown["inPlay"], shown["deficit"]) == (in_play, deficit)
    assert supply(service)["tableDeficits"] == deficit


def short_payout(answer: pb.SettlePotResponse) -> None:
    for result in answer.results[:1]:
        result.amount -= 1


def chip_too_many(answer: pb.GetTableResponse) -> None:
    for chips in answer.in_play[:1]:
        chips.amount += 1


def lost_bet(answer: pb.GetPotResponse) -> None:
    del answer.pot.contributions[0]


def richer(answer: pb.GetBalanceResponse) -> None:
    answer.balance += 1


LIES: list[tuple[str, type[Any], Callable[[Any], None], str]] = [
    ("SettlePot", pb.SettlePotResponse, short_payout, r"sim-\w+-table-[12], hand [12]: results of the pot"),
    ("GetTable", pb.GetTableResponse, chip_too_many, r"sim-\w+-table-[12], hand 1: chips in play"),
    ("GetPot", pb.GetPotResponse, lost_bet, r"sim-\w+-table-[12], hand [12]: contributions"),
    ("GetBalance", pb.GetBalanceResponse, richer, r"sim-\w+-table-1-player-1, at the end: balance"),
]


class Liar(grpc.GenericRpcHandler):
    """Hands calls on to the real service, and changes what one method answers."""

    def __init__(
        self, channel: grpc.Channel, method: str, kind: type[Any], lie: Callable[[Any], None]
    ) -> None:
        self._channel = channel
        self._method = method
        self._kind = kind
        self._lie = lie

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        ask: Any = self._channel.unary_unary(method)

        def answer(request: bytes, _context: grpc.ServicerContext) -> bytes:
            told: bytes = ask(request, timeout=10)
            if not method.endswith(f"/{self._method}"):
                return told
            message = self._kind.FromString(told)
            self._lie(message)
            changed: bytes = message.SerializeToString()
            return changed

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def lying(service: RunningService, *lie: Any) -> Iterator[str]:
    """The address of a service that lies."""
    with grpc.insecure_channel(service.grpc) as channel:
        server = grpc.server(ThreadPoolExecutor(max_workers=1))  # so that calls keep their order
        server.add_generic_rpc_handlers((Liar(channel, *lie),))
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield target
        finally:
            server.stop(grace=None).wait()


@pytest.mark.parametrize(("method", "kind", "lie", "told"), LIES, ids=[row[0] for row in LIES])
def test_the_first_chip_that_is_wrong_ends_the_evening(
    method: str, kind: type[Any], lie: Callable[[Any], None], told: str, service: RunningService
) -> None:
    """Exit code 1, and where it was: a simulation that never fails proves nothing."""
    with lying(service, method, kind, lie) as target:
        result = simulate(target, "--hands", "40", "--players", "3", "--tables", "2", "--seed", "1")
    assert result.returncode == 1
    assert re.search(told, result.stderr), result.stderr
    assert "chips expected" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--hands", "5", "--seconds", "5"], "--seconds goes without --hands"),
        (["--hands", "5", "--concurrency", "5"], "--concurrency goes without --hands"),
        (["--tables", "2"], "--tables goes with --hands"),
        (["--hands", "5", "--players", "10"], "a table has 2 to 9 players"),
    ],
)
def test_the_two_ways_of_playing_are_not_mixed(arguments: list[str], told: str) -> None:
    """An option that would not be heeded is refused, before anybody is called."""
    result = simulate("127.0.0.1:1", *arguments)
    assert result.returncode == 2
    assert told in result.stderr


def test_hands_on_a_service_that_is_not_there() -> None:
    """Exit code 2: nothing was tried, so nothing is wrong with chips."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
    result = simulate(nowhere, "--hands", "5")
    assert result.returncode == 2
    assert nowhere in result.stderr
