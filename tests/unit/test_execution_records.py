"""When records are not as they were loaded, or not as they were written: redone, or frozen with an alarm."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from app.domain.commands import CashOut, Commit, Deposit, Reserve, Withdraw
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.storage import keys
from tests.support.scene import ALICE, ANNA, BOB, CAROL, Scene, reservation_id, sealed

ALICE_10 = Deposit(account_id=ALICE, amount=10)
BOB_10 = Deposit(account_id=BOB, amount=10)
THEFT = Withdraw(account_id=ALICE, amount=8)
FROZEN_ANSWER = Answer(outcome=Outcome.ACCOUNT_FROZEN)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Whoever else wrote: at the end the records agree with each other, to the chip."""
    scene = Scene()
    yield scene
    scene.audit()


def test_a_conflict_is_redone_on_what_the_other_writer_left(scene: Scene) -> None:
    """Between load and commit somebody else takes Alice's chips: the unit must not pay them out again."""
    # Given
    owner = scene.owner()
    scene.send(sealed(ALICE_10))
    owner.work()
    message = scene.send(
        sealed(Withdraw(account_id=ALICE, amount=5)), sealed(Deposit(account_id=ANNA, amount=1))
    )
    owner.backend.script("commit", before=lambda: scene.meanwhile(owner, sealed(THEFT, "other")))
    # If
    owner.work()
    # Expect
    refused, applied = scene.answers(message)
    assert refused == Answer(outcome=Outcome.INSUFFICIENT_BALANCE, available_balance=2)
    assert applied.balance == 1
    assert scene.amounts(ALICE) == [10, -8]


def test_after_three_conflicts_each_command_has_a_commit_of_its_own(scene: Scene) -> None:
    """Those that nobody disturbs are through then, whatever becomes of the others."""
    # Given
    owner = scene.owner()
    scene.send(sealed(ALICE_10))
    owner.work()
    for number in range(3):
        deposit = sealed(Deposit(account_id=ALICE, amount=1), f"other {number}")
        owner.backend.script("commit", before=partial(scene.meanwhile, owner, deposit))
    # If
    messages = [scene.send(sealed(Withdraw(account_id=each, amount=9), "w")) for each in (ALICE, BOB, CAROL)]
    before = owner.backend.made["commit"]
    owner.work()
    # Expect
    outcomes = [scene.answers(message)[0].outcome for message in messages]
    assert outcomes == [Outcome.OK, Outcome.ACCOUNT_NOT_FOUND, Outcome.ACCOUNT_NOT_FOUND]
    assert scene.amounts(ALICE) == [10, 1, 1, 1, -9]
    assert owner.backend.made["commit"] - before == 3 + 3


def test_a_table_that_changed_in_between_is_looked_at_again() -> None:
    """Under enforce the commit compares what is in play: chips leave a table once."""
    # Given: 5 chips on the table, and two who would take them.
    scene = Scene()
    owner = scene.owner(policy=Policy(enforce_table_bank=True))
    scene.send(
        sealed(ALICE_10),
        sealed(Reserve(account_id=ALICE, table_id="t1", amount=5), "r"),
        sealed(Commit(reservation_id=reservation_id(ALICE, "r"))),
    )
    owner.work()
    cash_out = CashOut(account_id=ALICE, table_id="t1", amount=5)
    message = scene.send(sealed(cash_out, "second"))
    owner.backend.script("commit", before=lambda: scene.meanwhile(owner, sealed(cash_out, "first")))
    # If
    owner.work()
    # Expect
    assert scene.answers(message) == [Answer(outcome=Outcome.NOT_ON_TABLE)]
    assert scene.amounts(ALICE) == [10, -5, 5]
    scene.audit()


def spoil_the_last_entry(scene: Scene) -> None:
    segment = scene.server.data[keys.ledger(0, ALICE, 0)]
    segment[-1] = segment[-1].replace(b'"amount":10', b'"amount":11')


def spoil_the_balance(scene: Scene) -> None:
    scene.hash_of(keys.account(0, ALICE))["balance"] = b"1000"


def lose_the_last_entry(scene: Scene) -> None:
    scene.server.data[keys.ledger(0, ALICE, 0)].pop()


@pytest.mark.parametrize("spoil", [spoil_the_last_entry, spoil_the_balance, lose_the_last_entry])
def test_a_broken_ledger_freezes_its_account_and_harms_no_other(
    spoil: Callable[[Scene], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is built on it, the alarm is raised once, and it stays frozen until ops clear it."""
    # Given
    scene = Scene()
    owner = scene.owner()
    scene.send(sealed(ALICE_10), sealed(Deposit(account_id=ANNA, amount=1)))
    owner.work()
    spoil(scene)
    ledger = scene.elements(ALICE)
    # If
    withdraw = sealed(Withdraw(account_id=ALICE, amount=1))
    first = scene.send(withdraw, sealed(Withdraw(account_id=ANNA, amount=1)))
    other = scene.send(sealed(BOB_10))
    owner.work()
    second = scene.send(withdraw, sealed(Withdraw(account_id=ALICE, amount=2), "later"))
    scene.next_owner().work()
    # Expect
    assert scene.answers(first)[0] == FROZEN_ANSWER
    assert scene.answers(second) == [FROZEN_ANSWER, FROZEN_ANSWER]
    assert scene.answers(first)[1].ok
    assert scene.answers(other)[0].ok
    assert scene.hash_of(keys.account(0, ALICE))["status"] == b"FROZEN"
    assert scene.elements(ALICE) == ledger
    (alarm,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert alarm.getMessage().startswith(f"ALARM account {ALICE} is frozen: its ledger is broken: ")


def test_a_replay_from_a_broken_tail_freezes_the_account_too(caplog: pytest.LogCaptureFixture) -> None:
    """The retry of the very command whose entry is broken: the alarm must not wait for another command."""
    scene = Scene()
    owner = scene.owner()
    scene.send(sealed(ALICE_10))
    owner.work()
    spoil_the_last_entry(scene)
    retry = scene.send(sealed(ALICE_10))
    owner.work()
    assert scene.answers(retry) == [FROZEN_ANSWER]
    assert scene.hash_of(keys.account(0, ALICE))["status"] == b"FROZEN"
    assert f"ALARM account {ALICE} is frozen" in caplog.text
