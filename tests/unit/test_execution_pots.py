"""Units with pots: one commit for all whom a settlement pays, redone when one of them changed meanwhile."""

from functools import partial

import pytest

from app.domain.commands import CancelPot, Deposit, EnsureAccount, RecordContribution, SettlePot, Winner
from app.domain.outcomes import Outcome
from app.storage import keys
from tests.support.scene import ALICE, BOB, Owner, Scene, named, sealed

TABLE, HAND = named("table", 2), "h1"
CANCEL = CancelPot(table_id=TABLE, hand_id=HAND)


def bet(seat_id: int, account_id: str, amount: int) -> RecordContribution:
    return RecordContribution(
        table_id=TABLE, hand_id=HAND, seat_id=seat_id, account_id=account_id, amount=amount
    )


def settle(**amounts: int) -> SettlePot:
    seats = {"alice": (1, ALICE), "bob": (2, BOB)}
    winners = (
        Winner(seat_id=seats[name][0], account_id=seats[name][1], amount=amount)
        for name, amount in amounts.items()
    )
    return SettlePot(table_id=TABLE, hand_id=HAND, winners=tuple(winners))


def betting() -> tuple[Scene, Owner]:
    """Alice and Bob, of two partitions, have put in 10 each at a table of a third."""
    scene = Scene()
    owner = scene.owner()
    for account_id in (ALICE, BOB):
        scene.send(sealed(EnsureAccount(account_id=account_id)))
    owner.work()
    scene.send(sealed(bet(1, ALICE, 10), "a"), sealed(bet(2, BOB, 10), "b"))
    owner.work()
    return scene, owner


def balance(scene: Scene, account_id: str, partition: int) -> bytes:
    found: bytes = scene.hash_of(keys.account(partition, account_id))["balance"]
    return found


def test_a_frozen_winner_stops_the_whole_settlement_and_raises_the_alarm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody is paid; once ops have cleared the account, the same key settles the pot."""
    scene, owner = betting()
    scene.hash_of(keys.account(1, BOB))["status"] = b"FROZEN"
    command = sealed(settle(alice=10, bob=10))
    refused = scene.send(command)
    owner.work()
    assert [answer.outcome for answer in scene.answers(refused)] == [Outcome.ACCOUNT_FROZEN]
    assert balance(scene, ALICE, 0) == b"0"
    assert f"ALARM a pot of table {TABLE} cannot be paid: an account is frozen" in caplog.text
    scene.hash_of(keys.account(1, BOB))["status"] = b"ACTIVE"
    paid = scene.send(command)
    owner.work()
    assert scene.answers(paid)[0].ok
    assert (balance(scene, ALICE, 0), balance(scene, BOB, 1)) == (b"10", b"10")


def test_a_winner_who_changed_meanwhile_is_read_again() -> None:
    """One revision of three differs: nothing is written, and the second try pays on top of the change."""
    scene, owner = betting()
    deposit = sealed(Deposit(account_id=BOB, amount=5))
    owner.backend.script("commit", before=partial(scene.meanwhile, owner, deposit))
    paid = scene.send(sealed(settle(alice=10, bob=10)))
    owner.work()
    assert [each.new_balance for each in scene.answers(paid)[0].results] == [10, 15]
    assert balance(scene, BOB, 1) == b"15"
    assert owner.backend.made["commit"] == 4  # accounts, bets, and the settlement twice


def test_a_cancellation_that_arrives_twice_refunds_once() -> None:
    """As after a lost reply, when the first commit was still on its way: the pot's version tells."""
    scene, owner = betting()
    owner.backend.script("commit", before=partial(scene.meanwhile, owner, sealed(CANCEL)))
    cancelled = scene.send(sealed(CANCEL))
    owner.work()
    assert scene.answers(cancelled)[0].ok
    assert keys.table(2, TABLE) not in scene.server.data  # in play of both is 0 again, and the pot is gone
