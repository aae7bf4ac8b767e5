"""Dead letters from the fault to the replay, on the twin: once, whatever is doubled, lost, or late."""

import pytest
from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.commands import Deposit, Withdraw
from app.domain.dead_letters import FAULT, REPLAYED, RESOLVED
from app.domain.identifiers import hash_key
from app.domain.outcomes import Answer, Outcome
from app.services.dead_letters import (
    ALREADY_APPLIED,
    APPLIED,
    CLOSED,
    PARKED,
    REFUSED,
    WAITING,
    Wish,
)
from app.services.faults import StoreUnavailable
from app.services.ops_log import QUEUED
from app.services.queue import Lane
from app.storage import keys
from tests.support.ops_desk import MENDED, OLGA, log_lines, replay
from tests.support.ops_scene import UNLUCKY, YEAR, OpsScene, Planted
from tests.support.scene import (
    ALICE,
    ANNA,
    BOB,
    go_away,
)


def test_a_mended_fault_is_replayed_once_and_the_log_tells_it(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given a parked deposit, and the mistake mended a year later
    If a dry run is made, and the replay is asked for twice before a worker comes, and once after it
    Expect the chips once, the letter closed, and a caller's retry to be answered with what was applied.
    """
    # Given
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    foreseen = ops.letters.foresee(dead_letter_id)
    assert (foreseen.result, foreseen.detail) == (PARKED, "ZeroDivisionError: canary")
    bug.mended = True
    ops.scene.server.now += YEAR
    # If
    assert ops.letters.foresee(dead_letter_id).result == APPLIED
    assert replay(ops.letters, dead_letter_id) == [WAITING]
    assert replay(ops.letters, dead_letter_id) == [WAITING]
    assert ops.scene.waiting(0) == 1
    assert ops.retry(Deposit(account_id=ANNA, amount=1)).ok
    assert replay(ops.letters, dead_letter_id) == [CLOSED]
    # Expect
    assert ops.scene.amounts(ALICE) == [13]
    assert ops.result(dead_letter_id) == (REPLAYED, Outcome.OK)
    assert ops.letters.find(Wish()) == []
    answer = ops.retry(UNLUCKY)
    assert (answer.outcome, answer.replayed, answer.balance) == (Outcome.OK, True, 13)
    told = [(line.who, line.what, line.subjects, line.why, line.outcome) for line in log_lines(ops.desk)]
    assert told[0] == (OLGA, "dead-letters.replay", (dead_letter_id,), MENDED, QUEUED)
    record = keys.refusal(0, "Deposit", ALICE, hash_key("k"))
    assert record in ops.scene.server.expires, "the key is not held for ever by a letter that is closed"


def test_a_retry_of_the_caller_while_the_replay_waits_is_told_of_the_letter(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in the interactive lane, so before the replay; the replay is what is applied."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    answer = ops.retry(UNLUCKY)
    assert answer == Answer(outcome=Outcome.DEAD_LETTERED, detail=dead_letter_id, replayed=True)
    assert ops.scene.amounts(ALICE) == [13]
    assert ops.retry(UNLUCKY).balance == 13


@pytest.mark.parametrize("in_one_unit", [True, False])
def test_a_replay_that_is_delivered_twice_is_applied_once(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch, *, in_one_unit: bool
) -> None:
    """Its message is copied, and taken at once or later."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    queue = ops.scene.server.value(keys.queue(0, Lane.BULK))
    (entry,) = queue.entries.values()
    if not in_one_unit:
        ops.owner.work()
    for _ in range(3):
        ops.scene.send_text(0, entry.payload, Lane.BULK)
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]
    assert ops.scene.waiting() == 0
    assert ops.scene.dead_letters(0) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_replay_whose_commit_was_in_doubt_is_asked_for_again(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The connection breaks at the commit, before it or after it: nobody knows, and it does not matter."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    ops.backend.script("commit", **{when: go_away})
    with pytest.raises(StoreUnavailable):
        replay(ops.letters, dead_letter_id)
    assert replay(ops.letters, dead_letter_id) == [WAITING]
    assert ops.scene.waiting() == 1
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]
    queued = [line for line in log_lines(ops.desk) if line.outcome == QUEUED]
    assert len(queued) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_loses_its_commit_of_a_replay_applies_it_once(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """What it has not seen committed it reads again, and finds it done or does it."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    ops.owner.backend.script("commit", **{when: go_away})
    with pytest.raises(StoreUnavailable):
        ops.owner.work()
    ops.owner.begin_again()
    assert ops.scene.amounts(ALICE) == [13]
    assert ops.result(dead_letter_id) == (REPLAYED, Outcome.OK)


def test_ops_who_resolve_a_letter_while_its_replay_is_decided_win_or_lose_whole(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has loaded the letter, and finds at its commit that it was closed: nothing is applied."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)

    def resolve() -> None:
        ops.letters.resolve([dead_letter_id], "otto", "paid by hand")

    ops.owner.backend.script("commit", before=resolve)
    ops.owner.work()
    assert ops.scene.elements(ALICE) == []
    letter = ops.letters.letter(dead_letter_id)
    assert letter is not None
    assert (letter.closed, letter.closed_by, letter.closed_reason) == (RESOLVED, "otto", "paid by hand")
    assert ops.scene.waiting() == 0


def test_a_replay_that_meets_the_fault_again_is_parked_as_the_same_letter(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the history of its replays; and it can be replayed again."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    replay(ops.letters, dead_letter_id)
    ops.owner.work()
    (letter,) = ops.letters.find(Wish())
    assert (letter.dead_letter_id, letter.attempts, letter.replaying) == (dead_letter_id, 4, 0)
    assert [(each.number, each.by, each.outcome) for each in letter.replays] == [(1, OLGA, FAULT)]
    assert ops.retry(UNLUCKY).detail == dead_letter_id
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]
    letter = replace(letter, replays=())
    closed = ops.letters.letter(dead_letter_id)
    assert closed is not None
    assert [each.outcome for each in closed.replays] == [FAULT, "OK"]


def test_what_had_been_applied_is_seen_and_not_applied_again(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is there, whoever made it: an older copy of the store, a repair by hand."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    record = keys.refusal(0, "Deposit", ALICE, hash_key("k"))
    held = ops.scene.server.data.pop(record)
    assert ops.retry(UNLUCKY).balance == 13
    ops.scene.server.data[record] = held
    assert ops.letters.foresee(dead_letter_id).result == ALREADY_APPLIED
    replay(ops.letters, dead_letter_id)
    ops.owner.work()
    assert ops.result(dead_letter_id) == (REPLAYED, Outcome.OK)
    assert ops.scene.amounts(ALICE) == [13]


def test_a_refused_replay_tells_why_and_a_frozen_account_keeps_its_letter(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused for good closes the letter; what ops can change does not."""
    bug = Planted(monkeypatch, Withdraw)
    poor, frozen = ops.park(
        (Withdraw(account_id=ALICE, amount=13), "poor"), (Withdraw(account_id=BOB, amount=13), "frozen")
    )
    bug.mended = True
    for each in (ALICE, BOB):
        assert ops.retry(Deposit(account_id=each, amount=12), "open").ok
    assert ops.retry(Deposit(account_id=BOB, amount=1), "more").ok
    ops.scene.hash_of(keys.account(1, BOB))["status"] = FROZEN.encode()
    foreseen = {each: ops.letters.foresee(each) for each in (poor, frozen)}
    assert {each: (told.result, told.outcome) for each, told in foreseen.items()} == {
        poor: (REFUSED, Outcome.INSUFFICIENT_BALANCE),
        frozen: (REFUSED, Outcome.ACCOUNT_FROZEN),
    }
    replay(ops.letters, poor, frozen)
    ops.owner.work()
    assert ops.result(poor) == (REPLAYED, Outcome.INSUFFICIENT_BALANCE)
    assert ops.result(frozen) == ("", Outcome.ACCOUNT_FROZEN)
    assert ops.retry(Withdraw(account_id=ALICE, amount=13), "poor").outcome is Outcome.INSUFFICIENT_BALANCE
    ops.scene.hash_of(keys.account(1, BOB))["status"] = ACTIVE.encode()
    replay(ops.letters, frozen)
    ops.owner.work()
    assert ops.scene.amounts(BOB) == [12, 1, -13]


def test_a_forced_replay_takes_the_place_of_the_one_that_waits(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both messages are in the queue; the later one is applied, the earlier one is nothing any more."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    assert replay(ops.letters, dead_letter_id, force=True) == [WAITING]
    assert ops.scene.waiting() == 2
    ops.owner.work()
    letter = ops.letters.letter(dead_letter_id)
    assert letter is not None
    assert [(each.number, each.outcome) for each in letter.replays] == [(1, ""), (2, "OK")]
    assert ops.scene.amounts(ALICE) == [13]
