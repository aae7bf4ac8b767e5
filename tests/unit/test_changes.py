"""What a unit leaves to be written: of each record the last form, and what the decisions relied on."""

from app.domain.commands import CashOut
from app.domain.decide import decide
from app.domain.identifiers import partition_of
from app.domain.outcomes import Answer
from app.domain.requests import Request
from app.domain.state import Decision, State, TableChange
from app.services.changes import Changes
from tests.support.domain import NOW, POLICY, account, request_of, state_of
from tests.support.pots import HAND, HOUSE, contribute, pot, settle
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


def test_a_pot_is_written_once_in_its_last_form() -> None:
    """Compared with what was loaded; each contribution leaves its own permanent answer."""
    changes, state = Changes(), state_of([account()])
    requests = [request_of(contribute(5), "one"), request_of(contribute(7), "two")]
    for request in requests:
        decision = decide(state, request, NOW, POLICY)
        changes.add(state, request, decision)
        state.apply(decision, request)
    assert (changes.pots[HAND].before, changes.pots[HAND].after) == (None, state.pots[HAND])
    assert list(changes.answers) == [request.record_id for request in requests]
    assert changes.in_play == {(HAND[0], "alice"): -12}


def test_a_settlement_is_written_account_by_account() -> None:
    """Every posting with the fingerprint of the settlement, the house's too."""
    before = pot((1, "alice", 50), (2, "bob", 50))
    changes, state = Changes(), state_of([account(), account("bob"), before])
    request = request_of(settle((1, "alice", 50), (2, "bob", 50)))
    changes.add(state, request, decide(state, request, NOW, POLICY))
    assert {name: change.before for name, change in changes.accounts.items()} == {
        "alice": account(),
        "bob": account("bob"),
        HOUSE: None,
    }
    posted = [(posting.entry.account_id, fingerprint) for posting, fingerprint in changes.postings]
    assert posted == [(name, request.fingerprint) for name in ("alice", "bob", HOUSE)]
    assert changes.pots[HAND].before is before
