"""Workers that die beside a command, not of it: what was carried out is told, and never parked."""

from collections.abc import Iterator

import pytest

from app.domain.commands import Deposit
from app.domain.outcomes import Outcome
from tests.support.scene import ALICE, Owner, Scene, sealed


class Killed(BaseException):
    """The process is gone: no line of ours runs after this."""


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Whoever died: at the end the records agree with each other, to the chip."""
    scene = Scene()
    yield scene
    scene.audit()


def kill() -> None:
    raise Killed


def fail() -> None:
    raise ValueError("a record that cannot be read")


def die(owner: Owner) -> None:
    with pytest.raises(Killed):
        owner.work()


def test_deaths_after_its_commit_are_none_of_a_command(scene: Scene) -> None:
    """It is done and waits for the rest of its message, before which one worker after the other dies."""
    # Given
    message = scene.send(
        sealed(Deposit(account_id=ALICE, amount=1), "one"), sealed(Deposit(account_id=ALICE, amount=2), "two")
    )
    scene.owner()
    # If
    for _ in range(4):
        owner = scene.next_owner()
        owner.backend.script("commit", after=kill)
        die(owner)
    scene.next_owner().work()
    # Expect
    assert [answer.balance for answer in scene.answers(message)] == [1, 3]
    assert scene.amounts(ALICE) == [1, 2]
    assert scene.dead_letters(0) == []


@pytest.mark.parametrize("deaths", [2, 3, 4])
def test_a_repetition_is_answered_however_many_died_beside_it(scene: Scene, deaths: int) -> None:
    """Its key has its outcome, for ever: a third time it is not run, but looked up, and once more and again.

    That a worker died before it had looked, or while it did, says nothing yet.
    """
    # Given
    owner, deposit = scene.owner(), sealed(Deposit(account_id=ALICE, amount=1), "one")
    scene.send(deposit)
    owner.work()
    repetition = scene.send(deposit)
    # If
    for _ in range(deaths):
        owner = scene.next_owner()
        owner.backend.script("read", before=kill)
        die(owner)
    scene.next_owner().work()
    # Expect
    (answer,) = scene.answers(repetition)
    assert (answer.outcome, answer.replayed, answer.balance) == (Outcome.OK, True, 1)
    assert scene.dead_letters(0) == []


def test_what_kills_even_when_it_is_looked_up_is_parked_without_a_look(scene: Scene) -> None:
    """The sixth time nothing of it is read any more."""
    # Given
    message = scene.send(sealed(Deposit(account_id=ALICE, amount=1)))
    scene.owner()
    # If
    for _ in range(5):
        owner = scene.next_owner()
        owner.backend.script("read", before=kill)
        die(owner)
    owner = scene.next_owner()
    owner.work()
    # Expect
    (answer,) = scene.answers(message)
    assert answer.outcome is Outcome.DEAD_LETTERED
    assert scene.dead_letters(0)[0].error == "its worker died 5 times while it ran"
    assert owner.backend.made == {"read": 1, "commit": 1}, "what is read is the time"


def test_what_cannot_be_looked_up_is_parked(scene: Scene) -> None:
    """A fault of ours in the look-up is no reason to run a command that kills."""
    # Given
    message = scene.send(sealed(Deposit(account_id=ALICE, amount=1)))
    scene.owner()
    for _ in range(2):
        owner = scene.next_owner()
        owner.backend.script("read", before=kill)
        die(owner)
    # If
    owner = scene.next_owner()
    owner.backend.script("read", before=fail)
    owner.work()
    # Expect
    (answer,) = scene.answers(message)
    assert answer.outcome is Outcome.DEAD_LETTERED
    assert scene.dead_letters(0)[0].error == "its worker died 2 times while it ran"
