"""Units of work on the in-memory twin: one answer for each command, exactly when its change is written."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from app.domain.commands import CashOut, Commit, Deposit, EnsureAccount, Release, Reserve, Withdraw
from app.domain.identifiers import partition_of
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.services.faults import StoreUnavailable
from app.services.queue import Lane
from app.services.work import Unit
from app.storage import keys
from tests.support.scene import (
    ALICE,
    ANNA,
    BOB,
    CAROL,
    PARTITIONS,
    Scene,
    go_away,
    reservation_id,
    sealed,
)

ALICE_10 = Deposit(account_id=ALICE, amount=10)
BOB_10 = Deposit(account_id=BOB, amount=10)
THEFT = Withdraw(account_id=ALICE, amount=8)
EXPIRED = Answer(outcome=Outcome.EXPIRED)
DROPPED = Answer(outcome=Outcome.DROPPED)
FROZEN_ANSWER = Answer(outcome=Outcome.ACCOUNT_FROZEN)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Whatever happened: at the end the records agree with each other, to the chip."""
    scene = Scene()
    yield scene
    scene.audit()


def test_a_unit_answers_each_message_once_and_removes_it(scene: Scene) -> None:
    """Messages of several partitions and both lanes; the answers stand in the order of the commands."""
    # Given
    owner = scene.owner()
    first = scene.send(sealed(ALICE_10), sealed(Withdraw(account_id=ALICE, amount=4)))
    second = scene.send(sealed(EnsureAccount(account_id=BOB, initial_balance=7)))
    third = scene.send(sealed(Deposit(account_id=CAROL, amount=1)), lane=Lane.BULK)
    # If
    assert owner.work() == frozenset()
    # Expect
    assert [answer.balance for answer in scene.answers(first)] == [10, 6]
    assert [answer.balance for answer in scene.answers(second)] == [7]
    assert [answer.balance for answer in scene.answers(third)] == [1]
    assert scene.waiting() == 0
    assert owner.backend.made["commit"] == 1, "one unit, one commit"


def test_a_command_sees_what_those_before_it_in_the_unit_did(scene: Scene) -> None:
    """From the first deposit to the buy-in of a reservation made a moment ago, in one commit."""
    # Given
    owner, buy_in = scene.owner(), reservation_id(ALICE, "r")
    message = scene.send(
        sealed(ALICE_10),
        sealed(Reserve(account_id=ALICE, table_id="t1", amount=7), "r"),
        sealed(Withdraw(account_id=ALICE, amount=4)),
        sealed(Commit(reservation_id=buy_in)),
        sealed(Commit(reservation_id=buy_in)),
        sealed(Release(reservation_id=buy_in)),
        sealed(CashOut(account_id=ALICE, table_id="t1", amount=2)),
    )
    # If
    owner.work()
    # Expect
    deposit, reserve, withdraw, commit, again, release, cash_out = scene.answers(message)
    assert (deposit.balance, reserve.available_balance) == (10, 3)
    assert (withdraw.outcome, withdraw.available_balance) == (Outcome.INSUFFICIENT_BALANCE, 3)
    assert (commit.balance, again) == (3, replace(commit, replayed=True))
    assert release.outcome is Outcome.ALREADY_COMMITTED
    assert cash_out.balance == 5
    table = scene.hash_of(keys.table(partition_of("t1", PARTITIONS), "t1"))
    assert table == {f"a|{ALICE}": b"5"}
    assert owner.backend.made["commit"] == 1


@pytest.mark.parametrize("in_one_message", [True, False])
def test_a_key_that_comes_twice_in_a_unit_is_applied_once(scene: Scene, *, in_one_message: bool) -> None:
    """The second is a replay, also of a refusal; with other content it is refused."""
    # Given
    owner, too_much = scene.owner(), Withdraw(account_id=ALICE, amount=11)
    envelopes = [
        sealed(ALICE_10),
        sealed(ALICE_10),
        sealed(Deposit(account_id=ALICE, amount=11)),
        sealed(too_much),
        sealed(too_much),
    ]
    # If
    if in_one_message:
        messages = [scene.send(*envelopes)]
    else:
        messages = [scene.send(envelope) for envelope in envelopes]
    owner.work()
    # Expect
    answers = [answer for message in messages for answer in scene.answers(message)]
    assert answers[1] == replace(answers[0], replayed=True)
    assert answers[2] == Answer(outcome=Outcome.IDEMPOTENCY_KEY_REUSED)
    assert answers[3] == Answer(outcome=Outcome.INSUFFICIENT_BALANCE, available_balance=10)
    assert answers[4] == replace(answers[3], replayed=True)
    assert scene.amounts(ALICE) == [10]
    assert owner.backend.made["commit"] == 1


def test_a_refusal_is_forgotten_after_its_life_and_what_was_applied_never_is(scene: Scene) -> None:
    """24 hours, as it is set; then the same key is decided anew."""
    # Given
    owner, ttl_ms = scene.owner(), Policy().refusal_ttl_ms
    withdraw = Withdraw(account_id=ALICE, amount=25)
    scene.send(sealed(ALICE_10), sealed(withdraw), sealed(Deposit(account_id=ALICE, amount=50), "more"))
    owner.work()
    for wait_ms, outcome in [(ttl_ms - 1, Outcome.INSUFFICIENT_BALANCE), (1, Outcome.OK)]:
        # If
        scene.server.now += wait_ms
        message = scene.send(sealed(withdraw), sealed(ALICE_10))
        owner.work()
        # Expect
        refused, applied = scene.answers(message)
        assert refused.outcome is outcome
        assert applied.replayed
    assert scene.amounts(ALICE) == [10, 50, -25]


def test_past_holds_end_with_the_command_that_needs_their_chips(scene: Scene) -> None:
    """Their records are loaded for it, and written EXPIRED in the same commit."""
    owner = scene.owner()
    holds = [sealed(Reserve(account_id=ALICE, table_id="t1", amount=5), key) for key in ("r1", "r2")]
    scene.send(sealed(ALICE_10), *holds)
    owner.work()
    scene.server.now += 30_000
    message = scene.send(
        sealed(Withdraw(account_id=ALICE, amount=10)),
        sealed(Commit(reservation_id=reservation_id(ALICE, "r1"))),
        sealed(Release(reservation_id=reservation_id(ALICE, "r2"))),
    )
    owner.work()
    outcomes = [answer.outcome for answer in scene.answers(message)]
    assert outcomes == [Outcome.OK, Outcome.RESERVATION_EXPIRED, Outcome.OK]
    assert scene.account(ALICE).reserved == 0


def test_what_missed_its_deadline_is_dropped_and_removed(scene: Scene) -> None:
    """Nobody waits for it any more; what has time left in the same message is carried out."""
    owner = scene.owner()
    message = scene.send(
        sealed(ALICE_10, remaining_ms=100), sealed(Deposit(account_id=ALICE, amount=1), "b", remaining_ms=101)
    )
    scene.server.now += 101
    owner.work()
    assert scene.answers(message)[0] == DROPPED
    assert scene.answers(message)[1].ok
    assert scene.amounts(ALICE) == [1]
    assert scene.waiting() == 0


def test_what_waited_longer_than_refusals_live_is_expired(scene: Scene) -> None:
    """Whether its key was refused once, nobody knows any more. What was applied is still known."""
    # Given
    owner = scene.owner()
    scene.send(sealed(ALICE_10))
    owner.work()
    message = scene.send(sealed(ALICE_10), sealed(Withdraw(account_id=ALICE, amount=1)))
    # If
    scene.server.now += Policy().refusal_ttl_ms + 1
    owner.work()
    # Expect
    replayed, expired = scene.answers(message)
    assert replayed.replayed
    assert expired == EXPIRED
    assert scene.amounts(ALICE) == [10]


def test_the_clock_of_a_partition_never_goes_back(scene: Scene) -> None:
    """Not under its owner, nor under the next: each goes on from the last commit's time."""
    # Given
    owner = scene.owner()
    scene.send(sealed(ALICE_10))
    owner.work()
    began = scene.server.now
    # If: the server's clock is set back twice.
    scene.server.now = began - 5_000
    message = scene.send(sealed(Deposit(account_id=ALICE, amount=1), "b"))
    owner.work()
    scene.server.now = began - 3_000
    scene.hash_of(keys.partition(0))["until"] = b"0"
    scene.send(sealed(Deposit(account_id=ALICE, amount=2), "c"))
    scene.owner([0], name="next").work()
    # Expect
    assert scene.answers(message)[0].timestamp == began
    assert scene.account(ALICE).updated_at == began
    assert scene.amounts(ALICE) == [10, 1, 2]


def test_a_hold_past_its_time_by_the_partitions_clock_ends_by_that_clock(scene: Scene) -> None:
    """Also where the server's clock was set back, and would not have said so."""
    # Given: the clock has seen the hold's end.
    owner = scene.owner()
    scene.send(sealed(ALICE_10), sealed(Reserve(account_id=ALICE, table_id="t1", amount=6), "r"))
    owner.work()
    scene.server.now += 30_000
    scene.send(sealed(Deposit(account_id=ANNA, amount=1)))
    owner.work()
    # If
    scene.server.now -= 10_000
    message = scene.send(sealed(Withdraw(account_id=ALICE, amount=10)))
    owner.work()
    # Expect
    assert scene.answers(message)[0].balance == 0
    assert scene.account(ALICE).reserved == 0


def test_a_lost_partition_is_left_alone_and_the_others_go_on(scene: Scene) -> None:
    """Its epoch has moved on: no answer, no removal, no change; the next owner does it all."""
    # Given: an owner with three partitions in hand, one of which has another owner by now.
    owner = scene.owner()
    messages = [scene.send(sealed(Deposit(account_id=each, amount=10))) for each in (ALICE, BOB, CAROL)]
    unit = owner.take()
    assert unit is not None
    next_owner = scene.next_owner([1])
    # If
    lost = owner.execution.run(unit)
    # Expect
    assert lost == {1}
    assert [len(scene.told(message)) for message in messages] == [1, 0, 1]
    assert [scene.waiting(partition) for partition in (0, 1, 2)] == [0, 1, 0]
    assert scene.elements(BOB) == []
    # And then
    assert next_owner.work() == frozenset()
    assert [answer.balance for answer in scene.answers(messages[1])] == [10]
    assert scene.amounts(BOB) == [10]


def test_an_owner_that_lost_everything_changes_nothing(scene: Scene) -> None:
    """It may have been asleep for an hour."""
    owner = scene.owner()
    message = scene.send(sealed(ALICE_10))
    unit = owner.take()
    assert unit is not None
    scene.next_owner()
    assert owner.execution.run(unit) == {0}
    assert owner.execution.run(unit) == {0}, "nor when it tries again"
    assert (scene.told(message), scene.waiting(), scene.elements(ALICE)) == ([], 1, [])


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["read", "commit"])
def test_a_store_that_goes_away_delays_the_answer_and_doubles_nothing(
    scene: Scene, call: str, moment: str
) -> None:
    """Whether the last call was applied is not known; reading on from the queue finds out."""
    # Given
    owner = scene.owner()
    message = scene.send(sealed(ALICE_10), sealed(EnsureAccount(account_id=ALICE)))
    other = scene.send(sealed(BOB_10))
    owner.backend.script(call, **{moment: go_away})
    # If
    with pytest.raises(StoreUnavailable):
        owner.work()
    owner.begin_again()
    # Expect
    assert [answer.balance for answer in scene.answers(message)] == [10, 10]
    assert [answer.balance for answer in scene.answers(other)] == [10]
    assert (scene.amounts(ALICE), scene.amounts(BOB), scene.waiting()) == ([10], [10], 0)
    # And then: the caller, who has given up in the meantime, asks again with the same key.
    retry = scene.send(sealed(ALICE_10))
    owner.work()
    assert scene.answers(retry) == [replace(scene.answers(message)[0], replayed=True)]


def test_a_store_that_stays_away_is_told_and_loses_nothing(scene: Scene) -> None:
    """The owner raises each time it tries, and the queue still holds everything."""
    owner = scene.owner()
    message = scene.send(sealed(ALICE_10))
    unit = owner.take()
    assert unit is not None
    scene.server.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            owner.execution.run(unit)
    scene.server.away = False
    owner.begin_again()
    assert scene.answers(message)[0].ok
    assert scene.amounts(ALICE) == [10]


def test_a_stale_reader_applies_nothing_twice(scene: Scene) -> None:
    """It carries out again what has left the queue: the same answers, and nothing changed."""
    # Given: an entry that is read twice before it is carried out.
    owner = scene.owner()
    message = scene.send(sealed(ALICE_10), sealed(Withdraw(account_id=ALICE, amount=99)))
    ((entry,),) = owner.backend.take({(0, Lane.INTERACTIVE): "0-0"}, 10, 0).values()
    # If
    for _ in range(3):
        owner.execution.run(Unit([scene.opened(entry, 0, owner)]))
    # Expect
    first, *others = scene.told(message)
    assert len(others) == 2
    assert all(answers == [replace(each, replayed=True) for each in first] for answers in others)
    assert (scene.amounts(ALICE), scene.waiting()) == ([10], 0)


def test_a_clock_that_was_set_back_lets_nothing_look_old(scene: Scene) -> None:
    """
    Given a commit at a time that the server's clock has since been set back from, as by another primary's
    If a command comes that has all its time left, and one that is over
    Expect that to be told by the server's clock: else all are dropped, or expired, until it has caught up.
    """
    owner, day_ms = scene.owner(), 86_400_000
    scene.send(sealed(ALICE_10))
    owner.work()
    scene.server.now -= 2 * day_ms
    message = scene.send(sealed(BOB_10, remaining_ms=5_000), sealed(BOB_10, "late", remaining_ms=100))
    scene.server.now += 101
    owner.work()
    assert [answer.outcome for answer in scene.answers(message)] == [Outcome.OK, Outcome.DROPPED]
