"""Random hands of no-limit hold'em, played out by PokerKit: what a poker service would tell of them.

Pure: the same `Random` gives the same hands. Amounts in chips, seats from 0 on.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from pokerkit import (
    AntePosting,
    Automation,
    BlindOrStraddlePosting,
    NoLimitTexasHoldem,
    State,
)

FEWEST_SEATS, MOST_SEATS = 2, 9
_SMALL_BLIND, _BIG_BLIND = 1, 2
_DEEPEST_STACK = 300
_DONE_BY_POKERKIT = (
    Automation.ANTE_POSTING,
    Automation.BET_COLLECTION,
    Automation.BLIND_OR_STRADDLE_POSTING,
    Automation.HAND_KILLING,
    Automation.CHIPS_PULLING,
)


@dataclass(slots=True, frozen=True)
class Bet:
    """Chips that a seat puts into the pot, in the poker service's words: SMALL_BLIND, CALL, ALL_IN, ..."""

    seat_id: int
    amount: int
    kind: str


@dataclass(slots=True, frozen=True)
class Share:
    """A main or side pot as PokerKit has it: its chips, and the seats that may win them."""

    amount: int
    seats: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class Hand:
    """One hand from the blinds to the payout.

    `winnings` are what each seat gets back before rake, an uncalled bet included: they add up to the bets.
    `pots` leave the uncalled bet out. `stacks` are those before the hand.
    """

    stacks: tuple[int, ...]
    bets: tuple[Bet, ...]
    folded: tuple[int, ...]
    pots: tuple[Share, ...]
    winnings: dict[int, int]

    @property
    def contributions(self) -> dict[int, int]:
        """Chips put in, by seat."""
        return dict(_by_seat(self.bets))

    @property
    def is_split(self) -> bool:
        """True when seats have shared a pot: there are more of them than pots."""
        return len(self._won) > len(self.pots)

    @property
    def has_odd_chip(self) -> bool:
        """True when the one pot could not be shared equally."""
        return len(self.pots) == 1 and len(set(self._won.values())) > 1

    @property
    def _won(self) -> dict[int, int]:
        """Winnings by seat without the uncalled bet."""
        *_, matched, highest = sorted((0, *self.contributions.values()))
        won = Counter(self.winnings)
        for seat, amount in self.contributions.items():
            if amount == highest:
                won[seat] -= highest - matched
        return {seat: amount for seat, amount in won.items() if amount}


def play_hand(rng: Random, stacks: tuple[int, ...] | None = None) -> Hand:
    """Play one hand with these stacks, 2 to 9 of at least one chip each, or with random ones."""
    stacks = stacks or _random_stacks(rng)
    state = NoLimitTexasHoldem.create_state(
        _DONE_BY_POKERKIT,
        ante_trimming_status=True,
        raw_antes=rng.choice((0, 0, 1)),
        raw_blinds_or_straddles=(_SMALL_BLIND, _BIG_BLIND),
        min_bet=_BIG_BLIND,
        raw_starting_stacks=stacks,
        player_count=len(stacks),
    )
    state.deck_cards = deque(rng.sample(tuple(state.deck), len(state.deck)))
    bets = list(_forced_bets(state))
    folded = []
    pots: tuple[Share, ...] = ()
    while not state.can_push_chips():
        seat = state.actor_index
        if state.can_show_or_muck_hole_cards():
            pots = pots or _pots(state)
            state.show_or_muck_hole_cards()
        elif seat is None:
            _deal(state)
        elif (bet := _act(state, seat, rng)) is None:
            folded.append(seat)
        elif bet.amount:
            bets.append(bet)
    pots = pots or _pots(state)
    while state.can_push_chips():
        state.push_chips()
    put_in = _by_seat(bets)
    winnings = {seat: state.stacks[seat] - stack + put_in[seat] for seat, stack in enumerate(stacks)}
    return Hand(
        stacks=stacks,
        bets=tuple(bets),
        folded=tuple(folded),
        pots=pots,
        winnings={seat: amount for seat, amount in winnings.items() if amount},
    )


def _by_seat(bets: Iterable[Bet]) -> Counter[int]:
    put_in: Counter[int] = Counter()
    for bet in bets:
        put_in[bet.seat_id] += bet.amount
    return put_in


def _random_stacks(rng: Random) -> tuple[int, ...]:
    """Short ones are as likely as deep ones, so that many hands have side pots."""
    deepest = rng.choice((6, 40, _DEEPEST_STACK))
    return tuple(rng.randint(1, deepest) for _ in range(rng.randint(FEWEST_SEATS, MOST_SEATS)))


def _forced_bets(state: State) -> Iterator[Bet]:
    for operation in state.operations:
        match operation:
            case AntePosting():
                yield Bet(operation.player_index, operation.amount, "ANTE")
            case BlindOrStraddlePosting():
                small = state.blinds_or_straddles[operation.player_index] == _SMALL_BLIND
                kind = "SMALL_BLIND" if small else "BIG_BLIND"
                yield Bet(operation.player_index, operation.amount, kind)


def _pots(state: State) -> tuple[Share, ...]:
    """The pots once the betting is over, and before a losing hand leaves them."""
    return tuple(Share(pot.amount, pot.player_indices) for pot in state.pots)


def _deal(state: State) -> None:
    if state.can_burn_card():
        state.burn_card()
    elif state.can_deal_hole():
        state.deal_hole()
    else:
        state.deal_board()


def _act(state: State, seat: int, rng: Random) -> Bet | None:
    """Whoever's turn it is folds (None), checks (a bet of 0), calls, or raises."""
    stack, before = state.stacks[seat], state.bets[seat]
    move = rng.choices(("fold", "call", "raise", "all in"), (3, 8, 3, 1))[0]
    if move == "fold" and state.can_fold():
        state.fold()
        return None
    if move in ("raise", "all in") and state.can_complete_bet_or_raise_to():
        least = state.min_completion_betting_or_raising_to_amount or 0
        most = state.max_completion_betting_or_raising_to_amount or 0
        amount = most if move == "all in" else rng.randint(least, min(most, 3 * least))
        kind = "RAISE" if any(state.bets) else "BET"
        state.complete_bet_or_raise_to(amount)
        put_in = amount - before
    else:
        kind, put_in = "CALL", state.check_or_call().amount
    return Bet(seat, put_in, "ALL_IN" if put_in == stack else kind)
