"""After an unclean takeover: what the dead owner may have had in hand runs alone, and killers are found."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from app.domain.commands import Deposit
from app.domain.outcomes import Outcome
from app.domain.rules.case import Case
from app.domain.state import Decision
from app.services.faults import StoreUnavailable
from app.services.queue import Lane
from tests.support.domain import replace_rule
from tests.support.scene import ALICE, ANNA, BOB, CAROL, Owner, Scene, go_away, sealed


class Killed(BaseException):
    """The process is gone: no line of ours runs after this."""


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Whoever died: at the end the records agree with each other, to the chip."""
    scene = Scene()
    yield scene
    scene.audit()


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Deposit:
    """A command that kills whoever decides it."""

    def kill(case: Case, command: Deposit) -> Decision:
        if command.amount == 13:
            raise Killed
        return rule(case, command)

    rule = replace_rule(monkeypatch, Deposit, kill)
    return Deposit(account_id=ALICE, amount=13)


def die(owner: Owner) -> None:
    with pytest.raises(Killed):
        owner.work()


def test_a_command_that_kills_its_worker_is_parked_when_it_is_met_for_the_third_time(
    scene: Scene, killer: Deposit
) -> None:
    """The first death leaves no mark, the next two do; its neighbours are carried out exactly once."""
    # Given
    message = scene.send(
        sealed(Deposit(account_id=ALICE, amount=1), "before"),
        sealed(killer, "killer"),
        sealed(Deposit(account_id=ALICE, amount=2), "after"),
    )
    other = scene.send(sealed(Deposit(account_id=BOB, amount=3)))
    # If
    die(scene.owner())
    assert scene.elements(ALICE) == []
    die(scene.next_owner())
    die(scene.next_owner())
    assert scene.amounts(ALICE) == [1], "what stands before the killer is done, and done once"
    scene.next_owner().work()
    # Expect
    before, parked, after = scene.answers(message)
    assert (before.ok, before.replayed, after.ok) == (True, True, True)
    assert parked.outcome is Outcome.DEAD_LETTERED
    (letter,) = scene.dead_letters(0)
    assert letter.error == "its worker died 2 times while it ran"
    assert scene.amounts(ALICE) == [1, 2]
    assert scene.answers(other)[0].ok
    assert scene.waiting() == 0


def test_killers_of_both_lanes_are_counted_apart(scene: Scene, killer: Deposit) -> None:
    """Each lane has its own place in the queue, and its own mark."""
    messages = [
        scene.send(
            sealed(killer, f"killer, {lane}"),
            sealed(Deposit(account_id=ALICE, amount=1), f"after, {lane}"),
            lane=lane,
        )
        for lane in Lane
    ]
    die(scene.owner())
    for _ in range(4):
        die(scene.next_owner())
    scene.next_owner().work()
    for message in messages:
        parked, after = scene.answers(message)
        assert (parked.outcome, after.outcome) == (Outcome.DEAD_LETTERED, Outcome.OK)
    assert len(scene.dead_letters(0)) == 2


def test_what_arrives_after_the_takeover_is_carried_out_as_ever(scene: Scene) -> None:
    """Only what the dead owner may have had in hand runs alone: a mark and a commit for each command."""
    # Given
    old = [scene.send(sealed(Deposit(account_id=each, amount=1))) for each in (ALICE, ANNA)]
    scene.owner()
    owner = scene.next_owner()
    scene.server.now += 1
    new = [scene.send(sealed(Deposit(account_id=each, amount=2))) for each in (BOB, CAROL)]
    # If
    owner.work()
    # Expect
    assert all(scene.answers(message)[0].ok for message in (*old, *new))
    assert owner.backend.made["commit"] == 2 + 1


def test_a_clean_handover_needs_no_care(scene: Scene) -> None:
    """The owner before has finished what it had in hand."""
    message = scene.send(*(sealed(Deposit(account_id=ALICE, amount=1), f"{number}") for number in range(9)))
    first = scene.owner()
    epochs = {partition: owned.lease.epoch for partition, owned in first.owned.items()}
    first.backend.release("owner", epochs, leave=True)
    second = scene.owner(name="second")
    second.work()
    assert len(scene.answers(message)) == 9
    assert second.backend.made["commit"] == 1


def test_an_owner_without_its_partition_marks_nothing(scene: Scene) -> None:
    """Losing it in the middle of a careful message: what is done is done, the rest is the next owner's."""
    # Given
    message = scene.send(
        sealed(Deposit(account_id=ALICE, amount=1), "one"), sealed(Deposit(account_id=ALICE, amount=2), "two")
    )
    scene.owner()
    owner = scene.next_owner()
    takeover: list[Owner] = []
    owner.backend.script("commit", after=lambda: takeover.append(scene.next_owner()))
    # If
    assert owner.work() == {0}
    # Expect
    assert (scene.told(message), scene.amounts(ALICE)) == ([], [1])
    takeover[0].work()
    one, two = scene.answers(message)
    assert (one.replayed, two.replayed) == (True, False)
    assert scene.amounts(ALICE) == [1, 2]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_store_that_goes_away_again_and_again_is_no_death(scene: Scene, moment: str) -> None:
    """Nobody has died of the command: it must not be parked for it."""
    # Given
    message = scene.send(
        sealed(Deposit(account_id=ALICE, amount=1), "one"), sealed(Deposit(account_id=ALICE, amount=2), "two")
    )
    scene.owner()
    owner = scene.next_owner()
    for _ in range(5):
        owner.backend.script("commit", **{moment: go_away})
    # If
    for _ in range(5):
        with suppress(StoreUnavailable):
            owner.begin_again()
    owner.begin_again()
    # Expect
    assert [answer.balance for answer in scene.answers(message)] == [1, 3]
    assert scene.amounts(ALICE) == [1, 2]
