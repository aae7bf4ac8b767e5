"""The safety stop: a kind with too many faults is left in its queue, in order, until the code is mended."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.commands import Deposit, Withdraw
from app.domain.outcomes import Outcome
from app.domain.rules.case import Case
from app.domain.state import Decision
from app.queueing import ownership
from app.queueing.consumer import Desk, StreamsConsumer
from app.queueing.limits import QUEUE_NAME
from app.queueing.ownership import Ownership
from app.services.ops_log import Deed
from app.services.stops import TEND_SECONDS, FaultWatch, Limits, Stop, StopKeeper
from app.storage import keys
from app.storage.backends.memory import MemoryBackend
from app.storage.stops import StoreStops
from tests.support.domain import replace_rule
from tests.support.ops_desk import desk_on, log_lines
from tests.support.scene import ALICE, ANNA, BOB, CAROL, PARTITIONS, Scene, sealed

THREE_OF_TEN = Limits(commands=10, most_faults=3)


class Broken:
    """The rule for deposits raises until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mended = False
        self._rule = replace_rule(monkeypatch, Deposit, self)

    def __call__(self, case: Case, command: Deposit) -> Decision:
        if not self.mended:
            raise ZeroDivisionError("canary")
        return self._rule(case, command)


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.audit()


def deposits(scene: Scene, account_id: str, count: int, first: int = 0) -> list[str]:
    """So many deposits of 1 chip, each in a message of its own."""
    return [
        scene.send(sealed(Deposit(account_id=account_id, amount=1), f"{account_id}-{number}"))
        for number in range(first, first + count)
    ]


def test_broken_code_parks_a_few_commands_and_leaves_the_rest_in_their_queue(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given code that cannot carry out deposits
    If twenty come
    Expect three dead letters, the others to wait unanswered, other kinds to go on where none waits before
    them, and every chip to arrive, in order, when mended code takes over.
    """
    # Given
    broken, watch = Broken(monkeypatch), FaultWatch(THREE_OF_TEN)
    owner = scene.owner(watch=watch)
    # If
    messages = deposits(scene, ALICE, 20)
    behind = scene.send(sealed(Withdraw(account_id=ALICE, amount=5)))
    elsewhere = scene.send(sealed(Withdraw(account_id=BOB, amount=5)))
    owner.work()
    # Expect
    assert len(scene.dead_letters(0)) == 3
    assert [len(scene.told(message)) for message in messages] == [1] * 3 + [0] * 17
    assert (scene.told(behind), scene.waiting(0)) == ([], 18)
    assert scene.answers(elsewhere)[0].outcome is Outcome.ACCOUNT_NOT_FOUND
    assert watch.stopped["Deposit"] == Stop(kind="Deposit", faults=4, of=4, error="ZeroDivisionError: canary")
    broken.mended = True
    scene.next_owner(watch=FaultWatch(THREE_OF_TEN)).work()
    assert scene.amounts(ALICE) == [1] * 17 + [-5]
    assert scene.answers(behind)[0].balance == 12
    assert len(scene.dead_letters(0)) == 3


def test_what_stands_in_one_message_with_a_stopped_command_is_answered_with_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each delivery of a message is answered once; what of it was applied is not applied again."""
    broken, watch = Broken(monkeypatch), FaultWatch(Limits(commands=10, most_faults=0))
    owner = scene.owner(watch=watch)
    message = scene.send(
        sealed(Withdraw(account_id=ANNA, amount=1), "before"),
        sealed(Deposit(account_id=ALICE, amount=1), "d"),
        sealed(Withdraw(account_id=ALICE, amount=1), "after"),
    )
    owner.work()
    assert (scene.told(message), scene.dead_letters(0)) == ([], [])
    broken.mended = True
    watch.clear("Deposit")
    owner.work()
    before, deposit, after = scene.answers(message)
    assert (before.outcome, deposit.balance, after.balance) == (Outcome.ACCOUNT_NOT_FOUND, 1, 0)
    assert scene.amounts(ALICE) == [1, -1]


def test_a_command_of_a_stopped_kind_waits_in_every_partition_and_others_pass(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker takes no more of that kind, wherever it is; a queue without it is not held up."""
    Broken(monkeypatch)
    watch = FaultWatch(THREE_OF_TEN)
    owner = scene.owner(watch=watch)
    deposits(scene, ALICE, 4)
    owner.work()
    waits = deposits(scene, BOB, 1)
    passes = scene.send(sealed(Withdraw(account_id=CAROL, amount=1)))
    owner.work()
    assert scene.told(waits[0]) == []
    assert scene.answers(passes)[0].outcome is Outcome.ACCOUNT_NOT_FOUND
    assert scene.dead_letters(1) == []


def test_a_taken_over_queue_is_held_as_well(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run alone after an unclean takeover count the same."""
    Broken(monkeypatch)
    messages = deposits(scene, ALICE, 6)
    scene.owner()
    watch = FaultWatch(THREE_OF_TEN)
    scene.next_owner(watch=watch).work()
    assert [len(scene.told(message)) for message in messages] == [1] * 3 + [0] * 3
    assert watch.stopped.keys() == {"Deposit"}


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 12), st.integers(0, 12))
def test_a_kind_stops_exactly_when_its_last_commands_have_one_fault_too_many(
    faults: list[bool], commands: int, most: int
) -> None:
    """Compared with a count over the whole history; a limit as large as the window stops nothing."""
    watch, seen = FaultWatch(Limits(commands, most)), []
    for fault in faults:
        if not fault:
            watch.good("Deposit")
            seen.append(False)
            continue
        too_many = sum(seen[-commands:]) >= most and most < commands
        assert watch.may_park("Deposit", "e") is not too_many
        if too_many:
            assert not watch.may_park("Deposit", "e")
            watch.clear("Deposit")
            seen = []
        else:
            seen.append(True)
    assert watch.may_park("Withdraw", "e") is (most > 0 or commands <= most)


def test_a_stop_is_posted_and_lifted_when_ops_take_it_down(scene: Scene) -> None:
    """Once a second the worker looks whether it is still there; the log says who took it down."""
    scene.owner()
    watch, board = FaultWatch(Limits(10, 0)), StoreStops(MemoryBackend(scene.server))
    keeper = StopKeeper(watch, board, "owner")
    keeper.tend(0)
    assert board.of_the_living() == []
    assert not watch.may_park("Deposit", "ZeroDivisionError: canary")
    keeper.tend(1)
    (stop,) = board.of_the_living()
    assert (stop.worker, stop.kind, stop.at) == ("owner", "Deposit", scene.server.now)
    keeper.tend(1 + TEND_SECONDS)
    assert "Deposit" in watch.stopped
    desk = desk_on(MemoryBackend(scene.server))
    assert desk.switches.take_down("Withdraw", Deed(who="olga", what="stops.clear", why="no")) == []
    taken = desk.switches.take_down("", Deed(who="olga", what="stops.clear", why="mended"))
    assert taken == [stop]
    keeper.tend(1 + TEND_SECONDS + 0.5)
    assert "Deposit" in watch.stopped, "it looks once a second"
    keeper.tend(1 + 2 * TEND_SECONDS)
    assert watch.stopped == {}
    assert [(line.who, line.why) for line in log_lines(desk)] == [("olga", "mended")]


def test_what_a_dead_worker_has_posted_goes_with_the_next_post(scene: Scene) -> None:
    """It stops nobody any more, and is not told."""
    scene.owner()
    board = StoreStops(MemoryBackend(scene.server))
    board.post([Stop(kind="Deposit", faults=1, of=1, error="e", worker="gone")])
    assert board.of_the_living() == []
    board.post([Stop(kind="Payout", faults=1, of=1, error="e", worker="owner")])
    assert list(scene.hash_of(keys.STOPS)) == ["owner|Payout"]


def test_a_consumer_with_nothing_but_stopped_queues_does_not_spin(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits between two looks, and still sees when a stop is lifted."""
    monkeypatch.setattr(ownership, "RENEW_SECONDS", 0)
    watch = FaultWatch(Limits(10, 0))
    leases = Ownership(lambda: MemoryBackend(scene.server), PARTITIONS, "w")
    leases._tick()
    desk = Desk(lambda: MemoryBackend(scene.server), leases, PARTITIONS, lambda: None, watch)
    consumer = StreamsConsumer(desk, QUEUE_NAME, timeout_ms=1)
    assert not watch.may_park("Deposit", "e")
    for account_id in (ALICE, BOB, CAROL):
        deposits(scene, account_id, 1)
    waits: list[float | None] = []

    def wait(_event: threading.Event, timeout: float | None = None) -> bool:
        waits.append(timeout)
        return False

    monkeypatch.setattr(threading.Event, "wait", wait)
    assert [next(consumer) for _ in range(3)] == [None] * 3
    assert desk.hand.empty
    watch.clear("Deposit")
    while (unit := next(consumer)) is None:
        assert len(waits) < 10
    assert {delivery.partition for delivery in unit.unit.deliveries} == {0, 1, 2}


def test_faults_that_good_commands_lie_between_stop_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in four, with a limit of three in ten: data, not code; each is parked."""
    broken, watch = Broken(monkeypatch), FaultWatch(THREE_OF_TEN)
    owner = scene.owner(watch=watch)
    for number in range(8):
        broken.mended = True
        deposits(scene, ALICE, 3, first=4 * number)
        owner.work()
        broken.mended = False
        deposits(scene, ALICE, 1, first=4 * number + 3)
        owner.work()
    assert watch.stopped == {}
    assert len(scene.dead_letters(0)) == 8
    assert scene.amounts(ALICE) == [1] * 24
