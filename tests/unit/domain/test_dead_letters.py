"""Dead letters and their replays: which request may run, and what becomes of the letter then. Pure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.accounts import FROZEN
from app.domain.commands import CancelPot, Deposit, EnsureAccount, Withdraw
from app.domain.dead_letters import (
    FAULT,
    MOST_REPLAYS_KEPT,
    REISSUED,
    REPLAYED,
    RESOLVED,
    DeadLetter,
    partition_of_letter,
)
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.records import RefusalRecord, TransactionRecord
from app.domain.requests import Request
from app.domain.state import State
from tests.support.domain import NOW, POLICY, account, request_of, state_of

ID = "003-i-1700000000000-0-0"
DEPOSIT = Deposit(account_id="alice", amount=10)
AGES = POLICY.refusal_ttl_ms * 400


def letter(**changes: Any) -> DeadLetter:
    """A deposit that was parked long ago."""
    parked = DeadLetter(
        dead_letter_id=ID,
        partition=3,
        lane="interactive",
        entry_id="1700000000000-0",
        raw="{}",
        error="ZeroDivisionError: canary",
        attempts=2,
        arrived_at=NOW - AGES,
        parked_at=NOW - AGES,
    )
    return replace(parked, **changes)


def replay_of(request: Request, number: int = 1) -> Request:
    """The request as its replay of that number."""
    request.replay_of, request.replay_number = ID, number
    request.arrived_at = NOW - AGES
    return request


def parked_state(request: Request, asked: DeadLetter, *records: Any) -> State:
    """A state in which the letter holds the request's key."""
    state = state_of(records)
    state.dead_letters[ID] = asked
    if request.command.keyed:
        answer = Answer(outcome=Outcome.DEAD_LETTERED, detail=ID)
        state.refusals[request.refusal_key] = RefusalRecord(fingerprint=request.fingerprint, answer=answer)
    return state


ASKED = letter().replayed("olga", "mended", NOW)


def test_a_replay_that_was_asked_for_runs_at_any_age_and_closes_its_letter() -> None:
    """The key's record stays for the life of refusals: nobody decides that key anew in the meantime."""
    request = replay_of(request_of(DEPOSIT))
    state = parked_state(request, ASKED, account(balance=100))
    held = state.refusals[request.refusal_key]
    decision = decide(state, request, NOW, POLICY)
    assert (decision.answer.outcome, decision.answer.balance) == (Outcome.OK, 110)
    assert decision.refusal == held
    closed = decision.dead_letter
    assert closed is not None
    assert (closed.closed, closed.closed_at, closed.closed_by) == (REPLAYED, NOW, "olga")
    assert (closed.closed_reason, closed.replaying, closed.answer) == ("mended", 0, decision.answer)
    assert [(each.outcome, each.ended_at) for each in closed.replays] == [("OK", NOW)]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_only_the_replay_that_was_asked_for_last_may_run(number: int) -> None:
    """An earlier one may still be in the queue; whoever waits for the key is told of the dead letter."""
    asked = ASKED.replayed("olga", "again", NOW)
    request = replay_of(request_of(DEPOSIT), number)
    state = parked_state(request, asked, account(balance=100))
    decision = decide(state, request, NOW, POLICY)
    assert decision.answer == Answer(outcome=Outcome.DEAD_LETTERED, detail=ID, replayed=True)
    assert (decision.accounts, decision.dead_letter) == ((), None)


def test_a_retry_of_the_caller_is_told_of_the_dead_letter_while_its_replay_waits() -> None:
    """It is the same command under the same key, and still not the replay."""
    request = request_of(DEPOSIT)
    decision = decide(parked_state(request, ASKED, account()), request, NOW, POLICY)
    assert decision.answer == Answer(outcome=Outcome.DEAD_LETTERED, detail=ID, replayed=True)


@pytest.mark.parametrize("keyed", [True, False])
def test_a_replay_whose_letter_is_gone_changes_nothing(*, keyed: bool) -> None:
    """It was resolved meanwhile, or has run already and come twice."""
    request = replay_of(request_of(DEPOSIT if keyed else EnsureAccount(account_id="bob")))
    decision = decide(state_of([account()]), request, NOW, POLICY)
    assert decision.answer == Answer(outcome=Outcome.EXPIRED)
    assert (decision.accounts, decision.dead_letter) == ((), None)


def test_a_replay_whose_key_was_lost_is_expired_and_its_letter_stays() -> None:
    """Whether the key was used meanwhile nobody knows: to issue it anew is for ops to say."""
    request = replay_of(request_of(DEPOSIT))
    state = parked_state(request, ASKED, account())
    del state.refusals[request.refusal_key]
    decision = decide(state, request, NOW, POLICY)
    assert decision.answer.outcome is Outcome.EXPIRED
    assert decision.accounts == ()
    stays = decision.dead_letter
    assert stays is not None
    assert (stays.closed, stays.replaying, stays.replays[-1].outcome) == ("", 0, "EXPIRED")


def test_what_had_been_applied_is_not_applied_again() -> None:
    """The permanent record is the stronger witness, and closes the letter too."""
    first = request_of(DEPOSIT)
    state = state_of([account(balance=100)])
    done = decide(state, first, NOW, POLICY)
    state.apply(done, first)
    assert isinstance(state.transactions[first.record_id], TransactionRecord)
    request = replay_of(request_of(DEPOSIT))
    state.dead_letters[ID] = ASKED
    decision = decide(state, request, NOW, POLICY)
    assert decision.answer == replace(done.answer, replayed=True)
    assert decision.accounts == ()
    assert decision.dead_letter is not None
    assert decision.dead_letter.closed == REPLAYED


def test_a_refusal_of_the_caller_closes_the_letter_and_sticks() -> None:
    """That is the command's outcome; its key answers so for as long as any refusal."""
    request = replay_of(request_of(Withdraw(account_id="alice", amount=500)))
    decision = decide(parked_state(request, ASKED, account(balance=100)), request, NOW, POLICY)
    assert decision.answer.outcome is Outcome.INSUFFICIENT_BALANCE
    assert decision.refusal is not None
    assert decision.refusal.answer == decision.answer
    assert decision.dead_letter is not None
    assert decision.dead_letter.closed == REPLAYED


def test_a_refusal_that_is_not_the_callers_leaves_the_letter_parked() -> None:
    """The account is thawed one day, and then it can be replayed."""
    request = replay_of(request_of(DEPOSIT))
    decision = decide(parked_state(request, ASKED, account(status=FROZEN)), request, NOW, POLICY)
    assert decision.answer.outcome is Outcome.ACCOUNT_FROZEN
    assert decision.refusal is None
    stays = decision.dead_letter
    assert stays is not None
    assert (stays.closed, stays.replaying, stays.replays[-1].outcome) == ("", 0, "ACCOUNT_FROZEN")


def test_a_command_without_a_key_is_replayed_on_the_state_as_it_is() -> None:
    """Nothing holds a key for it; its letter alone says that it may run."""
    request = replay_of(request_of(EnsureAccount(account_id="bob", initial_balance=5)))
    decision = decide(parked_state(request, ASKED), request, NOW, POLICY)
    assert (decision.answer.created, decision.answer.balance) == (True, 5)
    assert decision.dead_letter is not None
    assert decision.dead_letter.closed == REPLAYED
    assert decision.refusal is None


def test_a_pot_that_is_not_there_leaves_the_cancellation_parked() -> None:
    """A contribution may be parked too, and be replayed after it."""
    request = replay_of(request_of(CancelPot(table_id="t1", hand_id="h1")))
    decision = decide(parked_state(request, ASKED), request, NOW, POLICY)
    assert decision.answer.outcome is Outcome.POT_NOT_FOUND
    assert decision.dead_letter is not None
    assert decision.dead_letter.closed == ""


def test_a_replay_that_meets_a_fault_again_is_told_in_the_same_letter() -> None:
    """Its history grows, and so do its attempts."""
    again = ASKED.parked_again("KeyError: other", 2, NOW + 5)
    assert (again.dead_letter_id, again.error, again.attempts) == (ID, "KeyError: other", 4)
    assert (again.replaying, again.closed) == (0, "")
    (told,) = again.replays
    assert (told.by, told.reason, told.outcome, told.error) == ("olga", "mended", FAULT, "KeyError: other")


@given(st.lists(st.sampled_from(["replay", "fault", "frozen"]), max_size=60))
def test_whatever_happens_to_a_letter_replays_are_numbered_and_at_most_one_may_run(steps: list[str]) -> None:
    """A number never comes again, though only the last replays are kept."""
    parked, numbers = letter(), set()
    for step in steps:
        if step == "replay":
            parked = parked.replayed("olga", "w", NOW)
            assert parked.replaying not in numbers
            numbers.add(parked.replaying)
        elif parked.replaying:
            frozen = Answer(outcome=Outcome.ACCOUNT_FROZEN)
            parked = parked.answered(frozen, NOW) if step == "frozen" else parked.parked_again("e", 2, NOW)
            assert parked.replaying == 0
        assert len(parked.replays) <= MOST_REPLAYS_KEPT
    assert parked.last_replay == len(numbers)


@pytest.mark.parametrize("how", [RESOLVED, REISSUED])
def test_a_letter_that_ops_close_lets_no_replay_run_any_more(how: str) -> None:
    """One may still be in the queue."""
    closed = ASKED.ended(how, "olga", "paid by hand", NOW, new_key="k2")
    assert (closed.closed, closed.replaying, closed.closed_by, closed.new_key) == (how, 0, "olga", "k2")


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        (ID, 3),
        ("000-b-1-0-0", 0),
        ("", None),
        ("003", None),
        ("3-i-1-0-0", None),
        ("a03-i-1", None),
        ("٠٠٣-i", None),
    ],
)
def test_the_id_of_a_letter_names_its_partition(text: str, partition: int | None) -> None:
    """What does not is no such id."""
    assert partition_of_letter(text) == partition
