"""Exact arithmetic of a settlement (DESIGN 7): side pots, rake in proportion, who may win how much. Pure.

Chips by seat throughout; whole chips only, and none is rounded away.
"""

from collections.abc import Collection, Mapping

from app.domain.pots import ACTIVE, Pot, SidePot

Chips = Mapping[int, int]
"""Chips by seat."""


def side_pots(contributions: Chips, folded: Collection[int] = ()) -> tuple[SidePot, ...]:
    """The pot split by what each seat has put in; together they are the whole pot.

    Folded seats put their chips in and open no pot of their own, except above every seat still in. An
    uncalled bet is the last pot, of one seat.
    """
    pots, below = [], 0
    for level in _levels(contributions, folded):
        inside = [seat for seat, amount in contributions.items() if amount >= level]
        live = [seat for seat in inside if seat not in folded]
        amount = sum(min(amount, level) - min(amount, below) for amount in contributions.values())
        pots.append(SidePot(amount=amount, level=level, seats=tuple(sorted(live or inside))))
        below = level
    return tuple(pots)


def side_pots_of(pot: Pot) -> tuple[SidePot, ...]:
    """A pot's side pots for showing: as settled, else as they stand; who has folded is not known before."""
    return side_pots(pot.by_seat()) if pot.status == ACTIVE else pot.pots


def _levels(contributions: Chips, folded: Collection[int]) -> list[int]:
    live = {amount for seat, amount in contributions.items() if seat not in folded}
    highest_live = max(live, default=0)
    levels = live | {amount for amount in contributions.values() if amount > highest_live}
    *_, matched, highest = sorted((0, 0, *contributions.values()))
    if 0 < matched < highest:
        levels.add(matched)
    return sorted(levels)


def less_rake(won: Chips, rake: int) -> dict[int, int]:
    """What is left of gross amounts: in proportion, rounded down; the odd chips go to the lowest seats."""
    pot = sum(won.values())
    left = pot - rake
    paid = {seat: won[seat] * left // pot for seat in sorted(won)}
    odd = left - sum(paid.values())  # fewer than there are winners, and none gets more than gross
    return {seat: amount + (place < odd) for place, (seat, amount) in enumerate(paid.items())}


def is_eligible(won: Chips, contributions: Chips, folded: Collection[int] = ()) -> bool:
    """True when the pots can be handed out so: every chip to a seat that has matched it.

    For every level t, the seats that put in at most t win together at most the sum of min(contribution, t)
    of all seats; a folded seat at most what no other seat has matched. Amounts less rake are held against
    the same bounds: the rake may have come off any winner's share.
    """
    for seat in folded:
        if won.get(seat, 0) > _unmatched(seat, contributions):
            return False
    winners = sorted(won, key=lambda seat: contributions.get(seat, 0))
    together = 0
    for place, seat in enumerate(winners):
        together += won[seat]
        level = contributions.get(seat, 0)
        last_of_level = place + 1 == len(winners) or contributions.get(winners[place + 1], 0) > level
        if last_of_level and together > sum(min(amount, level) for amount in contributions.values()):
            return False
    return True


def _unmatched(seat: int, contributions: Chips) -> int:
    others = (amount for other, amount in contributions.items() if other != seat)
    return max(0, contributions.get(seat, 0) - max(others, default=0))
