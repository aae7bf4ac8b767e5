"""The arithmetic of a settlement, against definitions that a player at the table would give."""

from collections.abc import Iterator
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.amounts import MAX_CHIPS
from app.domain.pots import SidePot
from app.domain.rake import RakeRule
from app.domain.settlement import is_eligible, less_rake, side_pots

amounts = st.integers(1, 9) | st.integers(1, MAX_CHIPS // 10)
contributions = st.dictionaries(st.integers(0, 9), amounts, min_size=1, max_size=9)
few_chips = st.dictionaries(st.integers(0, 3), st.integers(1, 4), min_size=1, max_size=4)


def shown(pots: tuple[SidePot, ...]) -> list[tuple[int, tuple[int, ...]]]:
    return [(pot.amount, pot.seats) for pot in pots]


@pytest.mark.parametrize(
    ("put_in", "folded", "pots"),
    [
        ({}, (), []),
        ({1: 10, 2: 10}, (), [(20, (1, 2))]),
        ({1: 10, 2: 40, 3: 40}, (), [(30, (1, 2, 3)), (60, (2, 3))]),
        ({1: 10, 2: 40, 3: 60}, (), [(30, (1, 2, 3)), (60, (2, 3)), (20, (3,))]),
        ({1: 5, 2: 40, 3: 40}, (1,), [(85, (2, 3))]),
        ({1: 5, 2: 10, 3: 40, 4: 40}, (1,), [(35, (2, 3, 4)), (60, (3, 4))]),
        ({1: 1, 2: 2}, (1,), [(2, (2,)), (1, (2,))]),
        ({1: 40, 2: 60, 3: 100}, (2,), [(120, (1, 3)), (40, (3,)), (40, (3,))]),
        ({1: 40, 2: 100}, (2,), [(80, (1,)), (60, (2,))]),
        ({1: 10, 2: 30, 3: 50}, (2, 3), [(30, (1,)), (40, (2, 3)), (20, (3,))]),
    ],
)
def test_side_pots(
    put_in: dict[int, int], folded: tuple[int, ...], pots: list[tuple[int, tuple[int, ...]]]
) -> None:
    """A folded seat's chips stay in; an uncalled bet is the last pot, of one seat."""
    assert shown(side_pots(put_in, folded)) == pots


@given(put_in=contributions, folded=st.sets(st.integers(0, 9)))
def test_side_pots_hold_every_chip_once(put_in: dict[int, int], folded: set[int]) -> None:
    """Whoever folded; levels rise, and no pot is empty or without a seat."""
    pots = side_pots(put_in, folded)
    assert sum(pot.amount for pot in pots) == sum(put_in.values())
    assert [pot.level for pot in pots] == sorted({pot.level for pot in pots})
    for pot in pots:
        assert pot.amount > 0
        assert pot.seats
        assert all(put_in[seat] >= pot.level for seat in pot.seats)


@given(put_in=contributions, folded=st.sets(st.integers(0, 9)))
def test_an_uncalled_bet_is_a_pot_of_its_own(put_in: dict[int, int], folded: set[int]) -> None:
    """What no other seat has matched can only go back where it came from."""
    highest, *others = sorted(put_in.items(), key=lambda item: -item[1])
    uncalled = highest[1] - max((amount for _, amount in others), default=0)
    last = side_pots(put_in, folded)[-1]
    assert (last.amount, last.seats) == (uncalled, (highest[0],)) or not uncalled


@pytest.mark.parametrize(
    ("rule", "pot", "rake"),
    [
        (RakeRule(), 20, 0),
        (RakeRule(), 21, 1),
        (RakeRule(), 39, 1),
        (RakeRule(), 40, 2),
        (RakeRule(), 99, 4),
        (RakeRule(), 100, 5),
        (RakeRule(), MAX_CHIPS, 5),
        (RakeRule(0, 5, 0), 100, 0),
        (RakeRule(500, 0, 0), 100, 0),
        (RakeRule(10_000, MAX_CHIPS, 0), MAX_CHIPS, MAX_CHIPS),
        (RakeRule(1, MAX_CHIPS, 0), 9_999, 0),
        (RakeRule(1, MAX_CHIPS, 0), 10_000, 1),
        (RakeRule(333, MAX_CHIPS, 0), MAX_CHIPS, MAX_CHIPS * 333 // 10_000),
    ],
)
def test_the_rake_is_rounded_down_and_capped(rule: RakeRule, pot: int, rake: int) -> None:
    """Above the minimum, not at it."""
    assert rule.of(pot) == rake


@given(
    pot=st.integers(1, MAX_CHIPS),
    basis_points=st.integers(0, 10_000),
    cap=st.integers(0, MAX_CHIPS),
    minimum=st.integers(0, 1_000),
)
def test_the_rake_is_the_contracts_formula(pot: int, basis_points: int, cap: int, minimum: int) -> None:
    """The most chips whose 10,000 fold is no more than pot x basis points, and no more than the cap."""
    rake = RakeRule(basis_points, cap, minimum).of(pot)
    if not basis_points or not cap or pot <= minimum:
        assert rake == 0
        return
    assert 0 <= rake <= cap
    assert rake * 10_000 <= pot * basis_points
    assert rake == cap or (rake + 1) * 10_000 > pot * basis_points


@given(won=contributions, data=st.data())
def test_the_rake_comes_off_in_proportion(won: dict[int, int], data: st.DataObject) -> None:
    """To the chip: nobody is off by more than one or gets more than before; low seats get the odd ones."""
    pot = sum(won.values())
    rake = data.draw(st.integers(0, pot))
    paid = less_rake(won, rake)
    assert sum(paid.values()) == pot - rake
    assert list(paid) == sorted(won)
    odd = {}
    for seat, amount in won.items():
        assert 0 <= paid[seat] <= amount
        odd[seat] = paid[seat] * pot - amount * (pot - rake)  # what the seat is above its share, times pot
        assert -pot < odd[seat] <= pot
    rounded_up = [paid[seat] > won[seat] * (pot - rake) // pot for seat in sorted(won)]
    assert rounded_up == sorted(rounded_up, reverse=True)


def every_way(put_in: dict[int, int]) -> set[tuple[int, ...]]:
    """What the seats can win at all: each chip of a layer goes to one of the seats that put one in there."""
    seats = sorted(put_in)
    reached = {(0,) * len(seats)}
    for layer in range(1, max(put_in.values()) + 1):
        inside = [place for place, seat in enumerate(seats) if put_in[seat] >= layer]
        for _ in inside:
            reached = {
                (*won[:place], won[place] + 1, *won[place + 1 :]) for won in reached for place in inside
            }
    return reached


def splits(chips: int, seats: int) -> Iterator[tuple[int, ...]]:
    """All ways to share chips among seats."""
    if seats == 1:
        yield (chips,)
        return
    for first in range(chips + 1):
        for rest in splits(chips - first, seats - 1):
            yield first, *rest


@pytest.mark.parametrize("put_in", list(product(range(1, 5), repeat=3)), ids=str)
def test_eligible_is_what_can_be_handed_out_chip_by_chip(put_in: tuple[int, ...]) -> None:
    """Every split of every pot of three small stacks, against every way to hand its chips out."""
    by_seat = dict(enumerate(put_in))
    possible = every_way(by_seat)
    for won in splits(sum(put_in), len(put_in)):
        assert is_eligible(dict(enumerate(won)), by_seat) is (won in possible), won


@given(put_in=few_chips, data=st.data())
def test_eligible_is_a_bound_for_every_set_of_seats(put_in: dict[int, int], data: st.DataObject) -> None:
    """Any seats together win at most what the deepest of them has matched; folded ones what nobody has."""
    seats = sorted(put_in)
    won = {seat: data.draw(st.integers(0, 8)) for seat in seats}
    folded = data.draw(st.sets(st.sampled_from(seats)))
    within = all(
        sum(won[seat] for seat in together)
        <= sum(min(amount, max(put_in[seat] for seat in together)) for amount in put_in.values())
        for size in range(1, len(seats) + 1)
        for together in combinations(seats, size)
    )
    others = {seat: [put_in[other] for other in seats if other != seat] for seat in folded}
    alone = all(won[seat] <= max(0, put_in[seat] - max(others[seat], default=0)) for seat in folded)
    assert is_eligible(won, put_in, folded) is (within and alone)


def test_two_short_stacks_do_not_share_the_main_pot_twice() -> None:
    """A bound for each seat alone would let them: 40 each out of a main pot of 40."""
    put_in = {1: 10, 2: 10, 3: 100, 4: 100}
    assert not is_eligible({1: 40, 2: 40, 3: 140}, put_in)
    assert is_eligible({1: 20, 2: 20, 3: 180}, put_in)


def test_a_seat_that_put_in_nothing_wins_nothing() -> None:
    """Not even when it is the only winner."""
    assert not is_eligible({9: 1}, {1: 10, 2: 10})
    assert not is_eligible({1: 19, 9: 1}, {1: 10, 2: 10})
