"""The worker's actor: what it could not carry out is left in its queue, and it says so."""

import dramatiq
import pytest

from app.domain.commands import Deposit
from app.queueing.broker import StreamsBroker
from app.queueing.limits import QUEUE_NAME
from app.services.work import Unit
from app.storage.backends.memory import MemoryBackend
from tests.support.scene import ALICE, PARTITIONS, Owner, Scene, sealed
from workers.actors import declare_actors


def actor_of(scene: Scene, owner: Owner) -> "dramatiq.Actor[[Unit], None]":
    """The actor over the owner's execution."""
    broker = StreamsBroker(lambda: MemoryBackend(scene.server), partitions=PARTITIONS)
    broker.declare_queue(QUEUE_NAME)
    return declare_actors(broker, owner.execution)


def waiting_unit(scene: Scene, owner: Owner) -> Unit:
    """A deposit, taken from its queue."""
    scene.send(sealed(Deposit(account_id=ALICE, amount=10)))
    unit = owner.take()
    assert unit is not None
    return unit


def test_a_unit_that_was_carried_out_is_done() -> None:
    """Nothing of it has to be read again."""
    scene = Scene()
    owner = scene.owner()
    unit = waiting_unit(scene, owner)
    actor_of(scene, owner)(unit)
    assert not unit.abandoned
    assert (scene.waiting(), scene.amounts(ALICE)) == (0, [10])


def test_a_unit_that_the_store_cut_short_is_abandoned() -> None:
    """Dramatiq must not see a failure, and the consumer must not see a success."""
    scene = Scene()
    owner = scene.owner()
    unit = waiting_unit(scene, owner)
    scene.server.away = True
    actor_of(scene, owner)(unit)
    assert unit.abandoned


class Interrupt(BaseException):
    """What Dramatiq or a signal may throw into an actor."""


def test_a_unit_that_was_interrupted_is_abandoned() -> None:
    """Whatever it was that ended it: what was not committed is read again."""
    scene = Scene()
    owner = scene.owner()
    unit = waiting_unit(scene, owner)

    def interrupt() -> None:
        raise Interrupt

    owner.backend.script("commit", before=interrupt)
    with pytest.raises(Interrupt):
        actor_of(scene, owner)(unit)
    assert unit.abandoned
    assert scene.waiting() == 1
