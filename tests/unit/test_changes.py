"""What a unit leaves to be written: of each record the last form, and what the decisions relied on."""

from app.domain.commands import CashOut
from app.domain.identifiers import partition_of
from app.domain.outcomes import Answer
from app.domain.requests import Request
from app.domain.state import Decision, State, TableChange
from app.services.changes import Changes
from tests.support.scene import ALICE, PARTITIONS

SEAT = ("t1", ALICE)


def add_cash_outs(changes: Changes, state: State, *amounts: int) -> None:
    """Take in cash-outs of these amounts, one after the other."""
    for amount in amounts:
        command = CashOut(account_id=ALICE, table_id="t1", amount=amount)
        request = Request(command, partition=partition_of(ALICE, PARTITIONS), key=str(amount))
        decision = Decision(Answer(), tables=(TableChange("t1", ALICE, -amount),))
        changes.add(state, request, decision)
        state.apply(decision, request)


def test_chips_in_play_are_compared_with_what_the_first_decision_saw() -> None:
    """Who looked at a table relies on what was loaded, not on what the unit itself has made of it since."""
    changes, state = Changes(), State(in_play={SEAT: 50})
    add_cash_outs(changes, state, 20, 5)
    assert (changes.in_play, changes.in_play_before) == ({SEAT: -25}, {SEAT: 50})
    assert state.in_play == {SEAT: 25}


def test_chips_in_play_that_nobody_looked_at_are_not_compared() -> None:
    """Plain increments never make two commands conflict."""
    changes, state = Changes(), State()
    add_cash_outs(changes, state, 20, 5)
    assert (changes.in_play, changes.in_play_before) == ({SEAT: -25}, {})
