"""The pot's record: what its entries tell, which ids follow from it, and what is answered for ever."""

from itertools import pairwise

import msgspec
import pytest
from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.commands import CancelPot, SettlePot
from app.domain.decide import decide
from app.domain.identifiers import derive_id, house_of, partition_in, partition_of
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.pots import EntryType, Pot, SettlementResult, SidePot, entry_type_of
from app.domain.rake import RakeRule
from app.domain.settlement import side_pots_of
from app.domain.state import Decision, State
from tests.support.domain import NOW, POLICY, account, do, request_of, state_of
from tests.support.pots import HAND, HOUSE, POT_ID, contribute, encoded, pot, settle

YEAR_MS = 365 * 86_400_000
ALICE, BOB = account(), account("bob", 7)
CANCEL = CancelPot(table_id=HAND[0], hand_id=HAND[1], reason="misdeal")


def played() -> State:
    """Alice has posted 30 and called 20, bob has raised to 60: a pot of 110, 10 of it uncalled."""
    state = state_of([ALICE, BOB])
    for number, command in enumerate(
        [contribute(30, kind="BIG_BLIND"), contribute(60, "bob", 2, "RAISE"), contribute(20, kind="ALL_IN")]
    ):
        assert do(state, request_of(command, f"bet {number}"), NOW + number).ok
    return state


def pot_in(state: State) -> Pot:
    made = state.pots[HAND]
    assert made
    return made


def told(made: Pot) -> list[tuple[str, int, str, int | None]]:
    return [(entry.type.value, entry.amount, entry.account_id, entry.seat_id) for entry in made.entries]


def test_an_answer_tells_the_pot_and_the_seat_so_far() -> None:
    """As of that contribution."""
    state = state_of([ALICE, BOB])
    commands = [contribute(30), contribute(60, "bob", 2), contribute(20)]
    answers = [do(state, request_of(each, f"bet {n}")) for n, each in enumerate(commands)]
    assert [(each.total_pot, each.seat_contribution) for each in answers] == [(30, 30), (90, 60), (110, 50)]


def test_the_entries_tell_every_chips_way() -> None:
    """Numbered from 1, in their order; chips out are negative, and what is left is what lies in the pot."""
    state = played()
    bets = [("BLIND", 30, "alice", 1), ("BET", 60, "bob", 2), ("BET", 20, "alice", 1)]
    assert told(pot_in(state)) == bets
    assert [entry.contribution_type for entry in pot_in(state).entries] == ["BIG_BLIND", "RAISE", "ALL_IN"]
    assert do(state, request_of(settle((2, "bob", 110)))).ok
    made = pot_in(state)
    assert told(made) == [*bets, ("POT_WIN", -105, "bob", 2), ("RAKE", -5, HOUSE, None)]
    assert [entry.n for entry in made.entries] == [1, 2, 3, 4, 5]
    assert sum(entry.amount for entry in made.entries) == made.chips == 0


def test_a_cancelled_pot_tells_its_refunds() -> None:
    """One for each seat; who cancelled says why."""
    state = played()
    assert do(state, request_of(CANCEL)).ok
    made = pot_in(state)
    assert told(made)[3:] == [("REFUND", -50, "alice", 1), ("REFUND", -60, "bob", 2)]
    assert (made.status, made.reason, made.cancelled_at, made.total) == ("CANCELLED", "misdeal", NOW, 110)


def test_a_settled_pot_tells_how_it_was_settled() -> None:
    """Side pots, rake and its rule, and what each seat was paid; in seat order."""
    state = played()
    rule = RakeRule(1_000, 3, 0)
    command = settle((2, "bob", 10), (1, "alice", 100), folded=(2,))
    assert do(state, request_of(command), policy=Policy(rake=rule)).ok
    made = pot_in(state)
    assert made.pots == (SidePot(amount=100, level=50, seats=(1,)), SidePot(amount=10, level=60, seats=(2,)))
    assert (made.rake_amount, made.rake_rule, made.payout_to) == (3, rule, "ACCOUNT")
    assert (made.status, made.settled_at) == ("SETTLED", NOW)
    assert [(each.seat_id, each.account_id, each.amount, each.new_balance) for each in made.results] == [
        (1, "alice", 98, 198),
        (2, "bob", 9, 16),
    ]


def test_each_write_is_a_version() -> None:
    """So a pot that somebody else has written since is noticed."""
    state = played()
    assert pot_in(state).version == 3
    do(state, request_of(CANCEL))
    assert pot_in(state).version == 4
    do(state, request_of(CANCEL))
    assert pot_in(state).version == 4


def test_a_pot_is_the_same_when_it_comes_back_from_the_store() -> None:
    """Active and settled; and it says the version of its record in so many words."""
    state = played()
    active = pot_in(state)
    do(state, request_of(settle((2, "bob", 110))))
    for made in (active, pot_in(state), pot((1, "alice", 5))):
        assert encoded(made) == made
        assert msgspec.to_builtins(made)["v"] == 1


def test_side_pots_can_be_shown_at_any_time() -> None:
    """While the pot is active as they stand, then as it was settled; a cancelled one has none."""
    state = played()
    shown = [(each.amount, each.seats) for each in side_pots_of(pot_in(state))]
    assert shown == [(100, (1, 2)), (10, (2,))]
    do(state, request_of(CANCEL))
    assert side_pots_of(pot_in(state)) == ()


def test_ids_hang_on_the_pot_and_not_on_the_hand() -> None:
    """The same hand id may come back once the record is gone; the ledger must not take it for the old one."""
    state = state_of([ALICE, pot((1, "alice", 100))])
    answer = do(state, request_of(settle((1, "alice", 100))))
    home = partition_of("alice", POLICY.partitions)
    (result,) = answer.results
    assert result.transaction_id == derive_id(home, "PotWin", POT_ID, "1")
    assert partition_in(result.transaction_id) == home
    rake = pot_in(state).entries[-1]
    assert rake.transaction_id == derive_id(3, "Rake", POT_ID, "")
    assert rake.account_id == house_of(3)
    for transaction_id in (result.transaction_id, rake.transaction_id):
        record = state.transactions[transaction_id]
        assert record
        assert state.entries[record.account_id, record.seq]


def test_a_pot_is_named_by_the_contribution_that_opened_it() -> None:
    """The first request's own id, whatever comes later."""
    state = state_of([ALICE, BOB])
    first = request_of(contribute(30), "first")
    do(state, first)
    do(state, request_of(contribute(60, "bob", 2), "second"))
    assert pot_in(state).pot_id == first.record_id


def test_two_seats_of_one_account_are_two_links_of_its_chain() -> None:
    """In seat order; each with its seat, and each result with the balance then."""
    state = state_of([ALICE, pot((4, "alice", 10), (2, "alice", 10))])
    request = request_of(settle((4, "alice", 5), (2, "alice", 15)))
    decision = decide(state, request, NOW, POLICY)
    (effect,) = decision.accounts
    entries = [posting.entry for posting in effect.postings]
    assert [(entry.metadata.seat_id, entry.amount, entry.balance_after) for entry in entries] == [
        (2, 15, 115),
        (4, 5, 120),
    ]
    assert [(each.amount, each.new_balance) for each in decision.answer.results] == [(15, 115), (5, 120)]
    assert all(after.seq == before.seq + 1 for before, after in pairwise(entries))
    assert {entry.metadata.hand_id for entry in entries} == {HAND[1]}
    assert {entry.metadata.table_id for entry in entries} == {HAND[0]}


def test_back_in_play_there_is_no_transaction() -> None:
    """The account is as before, and the result says so."""
    state = state_of([ALICE, pot((1, "alice", 20))])
    answer = do(state, request_of(settle((1, "alice", 20), to="TABLE")))
    assert answer.results == (
        SettlementResult(seat_id=1, account_id="alice", transaction_id="", amount=20, new_balance=100),
    )


def test_a_contribution_answers_the_same_for_ever() -> None:
    """After later bets, after the hand, after its record is gone and the hand id is used again."""
    state = played()
    request = request_of(contribute(30, kind="BIG_BLIND"), "bet 0")
    first = replace(do(state, request), replayed=False)
    assert (first.total_pot, first.seat_contribution) == (30, 30)
    do(state, request_of(settle((2, "bob", 110))))
    for forget in (False, True):
        if forget:
            del state.pots[HAND]
        late = request_of(contribute(30, kind="BIG_BLIND"), "bet 0", arrived_at=NOW + YEAR_MS)
        decision = decide(state, late, NOW + YEAR_MS, POLICY)
        assert decision == Decision(replace(first, replayed=True))
        other = request_of(contribute(31, kind="BIG_BLIND"), "bet 0")
        assert decide(state, other, NOW, POLICY).answer.outcome is Outcome.IDEMPOTENCY_KEY_REUSED


def test_a_settlement_answers_the_same_for_ever() -> None:
    """Also when a winner's account has been frozen, and when the pot's record is gone."""
    state = played()
    command = settle((2, "bob", 110))
    first = do(state, request_of(command))
    state.accounts["bob"] = account("bob", status=FROZEN)
    for _ in range(2):
        decision = decide(state, request_of(command), NOW + 7, POLICY)
        assert decision == Decision(replace(first, replayed=True))
        state.pots.pop(HAND, None)
    other = request_of(settle((2, "bob", 105)))
    assert decide(state, other, NOW, POLICY).answer.outcome is Outcome.IDEMPOTENCY_KEY_REUSED


def test_another_key_gets_the_results_of_the_settlement() -> None:
    """Whatever it asks for, nothing moves; from then on the key has this answer for ever."""
    state = played()
    first = do(state, request_of(settle((2, "bob", 110))))
    late = request_of(settle((1, "alice", 110)), "another")
    answer = do(state, late, NOW + 7)
    assert answer == first
    del state.pots[HAND]
    assert do(state, late, NOW + 8) == replace(first, replayed=True)


def refused(state: State, command: SettlePot) -> Outcome:
    return do(state, request_of(command)).outcome


def test_what_a_late_contribution_can_heal_does_not_stick() -> None:
    """The last bet may overtake nothing, but a caller may have lost it and send it again."""
    state = state_of([ALICE])
    command = settle((1, "alice", 20))
    assert refused(state, command) is Outcome.POT_NOT_FOUND
    do(state, request_of(contribute(15), "bet 1"))
    assert refused(state, command) is Outcome.SETTLEMENT_MISMATCH
    do(state, request_of(contribute(5), "bet 2"))
    assert refused(state, command) is Outcome.OK


def test_a_thawed_winner_is_paid_under_the_same_key() -> None:
    """ACCOUNT_FROZEN does not stick."""
    state = state_of([account(status=FROZEN), pot((1, "alice", 20))])
    command = settle((1, "alice", 20))
    assert refused(state, command) is Outcome.ACCOUNT_FROZEN
    state.accounts["alice"] = account(status=ACTIVE)
    assert refused(state, command) is Outcome.OK


def test_a_refusal_that_sticks_is_answered_again() -> None:
    """As any other: the seat is still another's, and the caller is told which field is wrong."""
    state = state_of([ALICE, pot((1, "bob", 20))])
    expected = Answer(outcome=Outcome.SEAT_TAKEN, detail="account_id")
    assert do(state, request_of(contribute(5))) == expected
    assert do(state, request_of(contribute(5))) == replace(expected, replayed=True)


def test_keys_belong_to_one_operation_on_one_table() -> None:
    """A bet and a settlement may have the same key, and so may bets at two tables."""
    state = state_of([ALICE])
    here, there = contribute(20), replace(contribute(20), table_id="t2")
    answers = [do(state, request_of(each)) for each in (here, there, settle((1, "alice", 20)))]
    assert all(answer.ok and not answer.replayed for answer in answers)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        *(
            (word, EntryType.BLIND)
            for word in ("BLIND", "SMALL_BLIND", "big blind", "smallBlind", "SB", "bb")
        ),
        *(
            (word, EntryType.BLIND)
            for word in ("ANTE", "BIG_BLIND_ANTE", "antes", "STRADDLE", "POST", "posted")
        ),
        *((word, EntryType.BET) for word in ("", "BET", "CALL", "RAISE", "ALL_IN", "GUARANTEE", "x")),
        *((word, EntryType.BET) for word in ("POST_FLOP_BET", "SBB", "BRING_IN", "PANTE", "\U0001f0a1")),
    ],
)
def test_blinds_are_told_from_bets(word: str, kind: EntryType) -> None:
    """In whatever words a poker service says it; what nobody knows is a bet."""
    assert entry_type_of(word) is kind
