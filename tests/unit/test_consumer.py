"""When the consumer hands partitions over, and which queues it looks at. On the in-memory twin."""

import pytest

from app.domain.commands import Deposit
from app.queueing import consumer, ownership
from app.queueing.consumer import Desk, StreamsConsumer
from app.queueing.limits import QUEUE_NAME
from app.queueing.ownership import Ownership
from app.services.faults import StoreUnfit
from app.services.queue import Lane
from app.storage import keys
from app.storage.backends.memory import MemoryBackend
from tests.support.scene import ALICE, BOB, CAROL, PARTITIONS, Scene, named, sealed

DAVE = named("dave", 3)


class Worker:
    """The leases and the consumer of one worker; its thread is the test's. `unfit`, it refuses the store."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.unfit = False
        self.ownership = Ownership(lambda: MemoryBackend(scene.server), PARTITIONS, name)
        self.desk = Desk(lambda: MemoryBackend(scene.server), self.ownership, PARTITIONS, self._check_store)
        self.consumer = StreamsConsumer(self.desk, QUEUE_NAME, timeout_ms=1)
        self.look_at_leases()

    def _check_store(self) -> None:
        if self.unfit:
            raise StoreUnfit("an older copy")

    def look_at_leases(self) -> None:
        """What the thread of the ownership does every quarter of a second."""
        self.ownership._tick()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Leases are renewed at every look at them."""
    monkeypatch.setattr(ownership, "RENEW_SECONDS", 0)
    return Scene()


def owners(scene: Scene) -> list[str]:
    return [scene.hash_of(keys.partition(each))["owner"].decode() for each in range(PARTITIONS)]


def test_a_partition_is_not_handed_over_while_its_unit_is_in_hand(scene: Scene) -> None:
    """
    Given a worker with every partition, and with a unit of all of them in hand
    If a second worker comes
    Expect it to get its share when the unit is done, one partition after the other, and not before.
    """
    # Given
    first = Worker(scene, "first")
    for account_id in (ALICE, BOB, CAROL, DAVE):
        scene.send(sealed(Deposit(account_id=account_id, amount=1)))
    unit = next(first.consumer)
    assert unit is not None
    assert len(unit.unit.deliveries) == PARTITIONS
    # If
    second = Worker(scene, "second")
    first.look_at_leases()
    # Expect
    assert next(first.consumer) is None
    assert owners(scene) == ["first"] * 4
    # And then
    first.consumer.ack(unit)
    for handed_over in (1, 2):
        assert next(first.consumer) is None
        second.look_at_leases()
        assert owners(scene) == ["first"] * (4 - handed_over) + ["second"] * handed_over


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])
def test_what_is_in_hand_at_the_end_is_not_handed_over(scene: Scene, begun: bool) -> None:
    """
    Given a worker that is told to stop, with a unit that was begun and goes on for too long, or was not begun
    Expect its partitions to lapse, for who takes them then is careful; or to be free at once.
    """
    worker = Worker(scene, "first")
    scene.send(sealed(Deposit(account_id=ALICE, amount=1)))
    unit = next(worker.consumer)
    assert unit is not None
    worker.consumer.requeue([] if begun else [unit])
    worker.ownership.stop()
    assert owners(scene) == ["first" if begun else ""] * PARTITIONS


def test_a_worker_that_cannot_look_at_its_queues_lets_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given a worker that refuses the store, or could not read its queues for another reason of its own
    If that goes on for too long
    Expect it to be no worker any more; and to have its share again when it can look.
    """
    monkeypatch.setattr(consumer, "UNFIT_SECONDS", 0)
    first, second = Worker(scene, "first"), Worker(scene, "second")
    assert next(first.consumer) is None
    first.unfit = first.desk.suspect = True
    assert next(first.consumer) is None
    first.look_at_leases()
    assert owners(scene) == ["first"] * 4, "not at once"

    with monkeypatch.context() as patched:
        patched.setattr(ownership, "IDLE_SECONDS", -1)
        first.look_at_leases()
        assert owners(scene) == [""] * 4
        first.look_at_leases()
    second.look_at_leases()
    assert owners(scene) == ["second"] * 4

    first.unfit = False
    assert next(first.consumer) is None
    first.look_at_leases()
    second.look_at_leases()
    assert next(second.consumer) is None
    first.look_at_leases()
    assert set(owners(scene)) == {"first", "second"}


def test_a_worker_that_was_long_at_a_unit_has_not_been_idle(scene: Scene) -> None:
    """Until it looks again: a unit may take long, while it gets on."""
    worker = Worker(scene, "first")
    scene.send(sealed(Deposit(account_id=ALICE, amount=1)))
    unit = next(worker.consumer)
    assert unit is not None
    worker.ownership._looked_at -= 1_000
    worker.consumer.ack(unit)
    worker.look_at_leases()
    assert owners(scene) == ["first"] * PARTITIONS


def test_a_worker_with_a_unit_in_hand_lets_nothing_go(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes: another rule says when it is stuck."""
    worker = Worker(scene, "first")
    scene.send(sealed(Deposit(account_id=ALICE, amount=1)))
    assert next(worker.consumer) is not None
    monkeypatch.setattr(ownership, "IDLE_SECONDS", -1)
    worker.look_at_leases()
    assert owners(scene) == ["first"] * PARTITIONS


def told(worker: Worker) -> list[str]:
    """The messages of the worker's next unit, which is then done; none when there is none."""
    proxy = next(worker.consumer)
    if proxy is None:
        return []
    worker.consumer.ack(proxy)
    return [delivery.message_id for delivery in proxy.unit.deliveries]


def called(scene: Scene) -> str:
    return scene.send(sealed(Deposit(account_id=ALICE, amount=1)))


def a_job(scene: Scene) -> str:
    return scene.send(sealed(Deposit(account_id=BOB, amount=1)), lane=Lane.BULK)


def test_while_callers_come_jobs_are_looked_for_now_and_then(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read costs by the streams it names. When the callers pause, the jobs' turn has come at once."""
    monkeypatch.setattr(consumer, "BULK_LOOK_SECONDS", 3600)
    worker = Worker(scene, "first")
    caller = called(scene)
    assert told(worker) == [caller]
    caller, job = called(scene), a_job(scene)
    assert told(worker) == [caller]
    assert told(worker) == [], "nobody calls any more"
    assert told(worker) == [job]


def test_callers_that_never_pause_do_not_hide_the_jobs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that is due, both lanes are read."""
    monkeypatch.setattr(consumer, "BULK_LOOK_SECONDS", 0)
    worker = Worker(scene, "first")
    caller = called(scene)
    assert told(worker) == [caller]
    caller, job = called(scene), a_job(scene)
    assert told(worker) == [caller, job]
