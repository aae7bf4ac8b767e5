"""The client before the real service: ordinary calls, a store that hangs, a poker service that is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from app.client import CallFailed, Join, Leave, Payout, Policy, Refused, Showdown, Winner
from tests.e2e.test_store_away import frozen_store, wait_until_ready
from tests.support.clients import KINDS, cashier_of, client_of
from tests.support.poker_service import (
    AFTER_BUY_IN,
    AFTER_CLEARING,
    AFTER_SEAT,
    BEFORE_CLEARING,
    BEFORE_SEAT,
    NEVER,
    Seat,
)
from tests.support.service import RunningService
from tests.support.waiting import eventually


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, service: RunningService) -> Iterator[Any]:
    with client_of(request.param, service.grpc, token=service.token) as client:
        yield client


def new_id() -> str:
    """An account, table, join or leave that no other test uses."""
    return uuid4().hex


def opened(client: Any, chips: int = 1000) -> str:
    """A new account with that many chips."""
    account_id = new_id()
    assert client.ensure_account(account_id, chips).created
    return account_id


def chips(client: Any, account_id: str) -> tuple[int, int, int]:
    """Balance, available balance and number of changes."""
    found = client.get_balance(account_id)
    return found.balance, found.available_balance, found.version


def test_chips_go_to_the_table_and_come_back(client: Any) -> None:
    """The way of a player, by hand: each call answers with a value of its own."""
    anna = opened(client, 100)
    assert client.deposit(anna, 900, source="BONUS").new_balance == 1000
    held = client.reserve(anna, "t1", 400, timeout_seconds=60)
    assert held.available_balance == 600
    bought = client.commit(held.reservation_id)
    assert bought.new_balance == 600
    assert client.commit(held.reservation_id) == bought
    assert client.cash_out(anna, "t1", 3, 350).new_balance == 950
    other = client.reserve(anna, "t1", 50)
    assert client.release(other.reservation_id).available_balance == 950
    assert client.withdraw(anna, 950).new_balance == 0
    assert chips(client, anna) == (0, 0, 4)


def test_a_refusal_and_a_mistake_are_told_apart(client: Any) -> None:
    """One is for the player, the other for a programmer."""
    anna = opened(client, 100)
    with pytest.raises(Refused, match="INSUFFICIENT_BALANCE") as refused:
        client.reserve(anna, "t1", 101)
    assert refused.value.answer["available_balance"] == 100
    with pytest.raises(CallFailed, match="INVALID_ARGUMENT, amount"):
        client.deposit(anna, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_comes_back_during_a_call_applies_it_once(kind: str, service: RunningService) -> None:
    """The first attempts find it hanging; the one that finds it again has the same key as they."""
    attempts: list[str] = []
    policy = Policy(attempt_seconds=0.5, total_seconds=60)
    with ExitStack() as frozen, client_of(kind, service.grpc) as known:
        anna = opened(known)

        def token() -> str:
            """Asked for at each attempt: at the third one the store wakes up."""
            attempts.append(service.token)
            if len(attempts) == 3:
                frozen.close()
            return service.token

        with client_of(kind, service.grpc, token=token, policy=policy) as client:
            frozen.enter_context(frozen_store(service))
            client.deposit(anna, 5)
        assert len(attempts) >= 3
        assert chips(known, anna) == (1005, 1005, 1)
    wait_until_ready(service)  # for those who come next, by HTTP too


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_dies_during_a_call_applies_it_once(kind: str, service: RunningService) -> None:
    """Killed for real, and started again by the service itself; nobody but the client tries again."""
    with client_of(kind, service.grpc) as known:
        anna = opened(known)
        with redis.Redis.from_url(service.redis_url) as store:
            pid = store.info("server")["process_id"]
        deaths = iter([pid])

        def token() -> str:
            """Asked for at each attempt: just before the first one the store dies."""
            for doomed in deaths:
                os.kill(doomed, signal.SIGKILL)
            return service.token

        with client_of(kind, service.grpc, token=token, policy=Policy(total_seconds=60)) as client:
            client.deposit(anna, 5)
        assert chips(known, anna) == (1005, 1005, 1)
    wait_until_ready(service)


def poker(
    kind: str, service: RunningService, folder: Path, plan: Join | Leave, die_at: str = NEVER
) -> "subprocess.CompletedProcess[str]":
    """Run the poker service on its folder, to its end or its death."""
    deed = "join" if isinstance(plan, Join) else "leave"
    arguments = [kind, service.grpc, str(folder), deed, die_at, json.dumps(asdict(plan))]
    command = [sys.executable, "-m", "tests.support.poker_service", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


DEATHS = [
    ("sync", BEFORE_SEAT),
    ("sync", AFTER_SEAT),
    ("sync", AFTER_BUY_IN),
    ("sync", BEFORE_CLEARING),
    ("sync", AFTER_CLEARING),
    ("async", AFTER_SEAT),
    ("async", BEFORE_CLEARING),
]


@pytest.mark.parametrize(("kind", "die_at"), DEATHS)
def test_a_killed_poker_service_finishes_what_it_began(
    kind: str, die_at: str, service: RunningService, tmp_path: Path
) -> None:
    """Done again with the same ids, each change happens once: 400 chips leave the account, and come back."""
    with client_of("sync", service.grpc) as client:
        anna, seat = opened(client), Seat(tmp_path, NEVER)
        steps: list[tuple[Join | Leave, set[str], tuple[int, int, int]]] = [
            (Join(new_id(), anna, "t1", 400), {BEFORE_SEAT, AFTER_SEAT, AFTER_BUY_IN}, (600, 600, 1)),
            (Leave(new_id(), anna, "t1", 1, 400), {BEFORE_CLEARING, AFTER_CLEARING}, (1000, 1000, 2)),
        ]
        for plan, deaths, expected in steps:
            if die_at in deaths:
                assert poker(kind, service, tmp_path, plan, die_at).returncode == -signal.SIGKILL
            finished = poker(kind, service, tmp_path, plan)
            assert finished.returncode == 0, finished.stderr
            assert json.loads(finished.stdout)["new_balance"] == expected[0]
            assert chips(client, anna) == expected
            assert (seat.taken_by is not None) is isinstance(plan, Join)


def test_a_hold_that_ended_while_its_service_was_dead(client: Any, tmp_path: Path) -> None:
    """The seat that it had taken is given up, and the chips are free: neither can be had for nothing."""
    anna, seat = opened(client), Seat(tmp_path, NEVER)
    join = Join(new_id(), anna, "t1", 400, hold_seconds=1)

    # Given: it died with the seat taken, and was away for longer than the chips are held.
    held = client.reserve(anna, "t1", 400, timeout_seconds=1, idempotency_key=f"join:{join.join_id}")
    seat.take(join.join_id)
    assert held.available_balance == 600
    eventually(lambda: client.get_balance(anna).available_balance == 1000)

    # If: the join is done again.
    with pytest.raises(Refused, match="RESERVATION_EXPIRED"):
        cashier_of(client).join_seat(join, lambda: seat.take(join.join_id), seat.clear)

    # Expect: as if the player had never come.
    assert seat.taken_by is None
    assert chips(client, anna) == (1000, 1000, 0)


def test_a_denied_seat_costs_nothing(client: Any) -> None:
    """The chips are free again at once, not only when the hold ends."""
    anna = opened(client)
    assert cashier_of(client).join_seat(Join(new_id(), anna, "t1", 400), lambda: False, lambda: None) is None
    assert chips(client, anna) == (1000, 1000, 0)


def test_a_showdown_pays_the_stacks_what_the_service_says(client: Any) -> None:
    """From seat to cash-out: done again it pays nothing twice, and only the rake is gone at the end."""
    table_id, hand_id = new_id(), new_id()
    cashier, anna, bert = cashier_of(client), opened(client), opened(client)
    stacks, paid = {anna: 0, bert: 0}, set()

    def pay(payouts: tuple[Payout, ...]) -> None:
        """Safe to repeat, as each callback is: a hand is paid once."""
        if hand_id not in paid:
            paid.add(hand_id)
            for payout in payouts:
                stacks[payout.account_id] += payout.amount

    # Given: two stacks, and a pot of 300 of which 100 were not called.
    for account_id in stacks:
        cashier.join_seat(Join(new_id(), account_id, table_id, 400), lambda: True, lambda: None)
        stacks[account_id] += 400
    for seat_id, account_id, amount in ((1, anna, 100), (2, bert, 200)):
        client.record_contribution(table_id, hand_id, seat_id, account_id, amount, contribution_type="BET")
        stacks[account_id] -= amount
    assert client.get_table(table_id).open_pots == {hand_id: 300}

    # If: anna wins what was called, and the poker service asks twice.
    showdown = Showdown(table_id, hand_id, (Winner(1, anna, 200), Winner(2, bert, 100)))
    settled = cashier.settle_showdown(showdown, pay)
    assert cashier.settle_showdown(showdown, pay) == settled

    # Expect: the service and the poker service have the same stacks, and they can be taken home.
    pot = client.get_pot(table_id, hand_id)
    assert (pot.status, pot.total, pot.rake_amount) == ("SETTLED", 300, 5)
    assert [(each.amount, each.seat_ids) for each in pot.side_pots] == [(200, (1, 2)), (100, (2,))]
    assert pot.results == settled.payouts
    assert client.get_table(table_id).in_play == stacks
    assert sum(stacks.values()) == 800 - 5
    for seat_id, account_id in enumerate(stacks, 1):
        cashier.leave_seat(Leave(new_id(), account_id, table_id, seat_id, stacks[account_id]), lambda: None)
        assert chips(client, account_id)[0] == 600 + stacks[account_id]
    assert not any(client.get_table(table_id).in_play.values())


def test_a_hold_can_be_looked_up(client: Any) -> None:
    """By its id beyond its end, in the list while it is held."""
    anna = opened(client)
    held = client.reserve(anna, "t1", 400)
    (listed,) = client.list_reservations(anna)
    assert listed == client.get_reservation(held.reservation_id)
    assert (listed.status, listed.amount, listed.ended_at) == ("HELD", 400, "")
    bought = client.commit(held.reservation_id)
    assert client.get_reservation(held.reservation_id).transaction_id == bought.transaction_id
    assert client.list_reservations(anna) == ()
    with pytest.raises(Refused, match="RESERVATION_NOT_FOUND"):
        client.get_reservation(anna)
    with pytest.raises(Refused, match="POT_NOT_FOUND"):
        client.get_pot("t1", anna)
