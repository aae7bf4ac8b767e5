"""Real hands of no-limit hold'em: what PokerKit pays is what the rules accept, to the chip."""

from random import Random

import pytest

from app.cli.simulation.hands import Hand, play_hand
from app.domain.accounts import open_account
from app.domain.outcomes import Outcome
from app.domain.policy import Policy
from app.domain.pots import Pot
from app.domain.settlement import side_pots, side_pots_of
from app.domain.state import State
from tests.support.domain import NOW, do, empty_state, request_of
from tests.support.pots import HAND, HOUSE, contribute, settle

HANDS_IN_ALL = 2_000
HANDS_OF_A_TEST = 50
POLICY = Policy()


def rake_of(pot: int) -> int:
    """The contract's formula with today's numbers."""
    return min(pot * 500 // 10_000, 5) if pot > 20 else 0


def player(seat: int) -> str:
    return f"player-{seat}"


def after_betting(hand: Hand) -> State:
    """The hand has been played, every bet recorded; nobody has been paid."""
    state = empty_state()
    for seat in range(len(hand.stacks)):
        state.accounts[player(seat)] = open_account(player(seat), "EnsureAccount", NOW)
    so_far: dict[int, int] = {}
    for place, bet in enumerate(hand.bets):
        so_far[bet.seat_id] = so_far.get(bet.seat_id, 0) + bet.amount
        command = contribute(bet.amount, player(bet.seat_id), bet.seat_id, bet.kind)
        answer = do(state, request_of(command, f"bet {place}"))
        assert (answer.total_pot, answer.seat_contribution) == (sum(so_far.values()), so_far[bet.seat_id])
    return state


def outcome_of(state: State, hand: Hand, won: dict[int, int], *, key: str = "try") -> Outcome:
    """What becomes of a settlement that pays so."""
    winners = [(seat, player(seat), amount) for seat, amount in won.items() if amount]
    return do(state, request_of(settle(*winners, folded=hand.folded), key)).outcome


def check_side_pots(hand: Hand, pot: Pot) -> None:
    """PokerKit's pots, and the uncalled bet as a last one; for showing, they stand in the settled pot."""
    ours = [(each.amount, each.seats) for each in side_pots(pot.by_seat(), hand.folded)]
    theirs = [(each.amount, each.seats) for each in hand.pots]
    if len(hand.folded) < len(hand.stacks) - 1:
        *_, matched, highest = sorted(pot.by_seat().values())
        uncalled = [(highest - matched, pot_seats) for _, pot_seats in ours[-1:] if highest > matched]
        assert ours == theirs + uncalled
    else:  # all have folded to one seat, and PokerKit gives it back its last bet whole
        (winner,) = hand.winnings
        assert {seats for _, seats in ours + theirs} == {(winner,)}
    assert sum(amount for amount, _ in ours) == sum(hand.winnings.values())
    assert [(each.amount, each.seats) for each in side_pots_of(pot)] == ours


def check_refusals(state: State, hand: Hand) -> None:
    """A chip more or less, a chip too many for a level, a folded seat: each is refused as what it is."""
    put_in, won = hand.contributions, hand.winnings
    some = min(won)
    assert outcome_of(state, hand, won | {some: won[some] + 1}) is Outcome.SETTLEMENT_MISMATCH
    less = {seat: amount - (seat == some) for seat, amount in won.items()}
    if any(less.values()) and rake_of(sum(won.values())) != 1:
        assert outcome_of(state, hand, less) is Outcome.SETTLEMENT_MISMATCH
    wrong = []
    for level in sorted(set(put_in.values()))[:-1]:
        short = [seat for seat, amount in put_in.items() if amount <= level]
        most = sum(min(amount, level) for amount in put_in.values())
        deepest = max(put_in, key=lambda seat: put_in[seat])
        wrong.append({short[0]: most + 1, deepest: sum(put_in.values()) - most - 1})
    for seat in hand.folded:
        if seat in put_in:
            giver = max(won, key=lambda each: won[each])
            wrong.append(won | {giver: won[giver] - 1, seat: 1})
    for number, each in enumerate(wrong):
        outcome = outcome_of(state, hand, each, key=f"wrong {number}")
        assert outcome is Outcome.SETTLEMENT_NOT_ELIGIBLE, each


def check_hand(hand: Hand) -> None:
    """Bets recorded, wrong settlements refused, the right one paid, the rake as the contract says."""
    state = after_betting(hand)
    check_refusals(state, hand)
    assert outcome_of(state, hand, hand.winnings, key="right") is Outcome.OK
    pot = state.pots[HAND]
    assert pot
    total = sum(hand.contributions.values())
    rake = rake_of(total)
    check_side_pots(hand, pot)
    assert (pot.total, pot.rake_amount, pot.rake_rule) == (total, rake, POLICY.rake)
    balances = {each.account_id: each.balance for each in state.accounts.values() if each}
    assert balances.pop(HOUSE, 0) == rake
    paid = {seat: balances[player(seat)] for seat in hand.winnings}
    assert sum(balances.values()) == sum(paid.values()) == total - rake
    for seat, amount in hand.winnings.items():
        share = amount * (total - rake)
        assert share // total <= paid[seat] <= share // total + 1


def check_hands(seed: str, hands: int) -> None:
    """As many hands as asked for, the same again for the same seed."""
    rng = Random(seed)
    for _ in range(hands):
        check_hand(play_hand(rng))


@pytest.mark.parametrize("evening", range(4))
def test_what_pokerkit_pays_is_accepted_to_the_chip(evening: int) -> None:
    """All-ins, folds, split pots; and whatever is a chip off is refused."""
    check_hands(f"evening {evening}", HANDS_OF_A_TEST)


@pytest.mark.soak
@pytest.mark.parametrize("night", range(8))
def test_thousands_of_hands(night: int) -> None:
    """The same, all night long."""
    check_hands(f"night {night}", HANDS_IN_ALL // 4)


def test_a_seed_plays_the_same_hands_again() -> None:
    """What has failed once can be looked at."""
    one, other = Random("a seed"), Random("a seed")
    assert [play_hand(one) for _ in range(5)] == [play_hand(other) for _ in range(5)]


def test_stacks_may_be_given() -> None:
    """A table goes on with what the players have left."""
    assert play_hand(Random(1), (5, 200, 40)).stacks == (5, 200, 40)
