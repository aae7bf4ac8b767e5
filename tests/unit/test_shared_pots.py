"""Which hands the simulation counts as split, and which as split with an odd chip."""

import pytest

from app.cli.simulation.hands import Bet, Hand, Share


def hand(put_in: dict[int, int], pots: tuple[Share, ...], winnings: dict[int, int]) -> Hand:
    """A hand of one bet a seat, which nobody folded."""
    bets = tuple(Bet(seat, amount, "BET") for seat, amount in put_in.items())
    return Hand(stacks=(100,) * len(put_in), bets=bets, folded=(), pots=pots, winnings=winnings)


@pytest.mark.parametrize(
    ("played", "is_split", "has_odd_chip"),
    [
        (hand({0: 5, 1: 5}, (Share(10, (0, 1)),), {0: 10}), False, False),
        (hand({0: 5, 1: 8}, (Share(10, (0, 1)),), {0: 10, 1: 3}), False, False),
        (hand({0: 5, 1: 8}, (Share(10, (0, 1)),), {0: 5, 1: 8}), True, False),
        (hand({0: 5, 1: 5, 2: 5}, (Share(15, (0, 1)),), {0: 8, 1: 7}), True, True),
        (hand({0: 2, 1: 5, 2: 5}, (Share(6, (0, 1, 2)), Share(6, (1, 2))), {0: 6, 1: 6}), False, False),
    ],
    ids=["one winner", "an uncalled bet", "split, with an uncalled bet", "an odd chip", "a side pot each"],
)
def test_a_pot_is_split_between_those_who_share_it(played: Hand, is_split: bool, has_odd_chip: bool) -> None:
    """An uncalled bet comes back to its seat, and a side pot has a winner of its own: neither is a split."""
    assert (played.is_split, played.has_odd_chip) == (is_split, has_odd_chip)
