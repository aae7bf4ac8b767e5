"""The rules of pots, as tables: on these records, this command ends so and changes this."""

import pytest

from app.domain.accounts import FROZEN
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import CancelPot
from app.domain.outcomes import Outcome
from app.domain.policy import Policy
from app.domain.pots import MAX_POT_ENTRIES
from app.domain.rake import RakeRule
from tests.support.domain import ENFORCE, account
from tests.support.pots import (
    HAND,
    HOUSE,
    STICKS,
    PotEffect,
    PotRow,
    cancelled,
    contribute,
    pot,
    settle,
    settled,
)

ALICE, BOB, CARL = account(), account("bob"), account("carl")
FROZEN_ALICE = account(status=FROZEN)
HEADS_UP = pot((1, "alice", 50), (2, "bob", 50))
SMALL = pot((1, "alice", 10), (2, "bob", 10))
THREE = pot((1, "alice", 10), (2, "bob", 40), (3, "carl", 40))
NO_RAKE = Policy(rake=RakeRule(0, 0, 0))
CANCEL = CancelPot(table_id=HAND[0], hand_id=HAND[1], reason="misdeal")


def into_pot(amount: int) -> PotEffect:
    """Alice's chips go from in play to the pot."""
    return PotEffect(in_play={"alice": -amount}, pot=("ACTIVE", amount))


def paid(pot_chips: int, **balances: int) -> PotEffect:
    """The pot is paid to accounts; `house` is the rake."""
    house = balances.pop("house", 0)
    return PotEffect(
        balances=balances | ({HOUSE: house} if house else {}),
        opened=frozenset({HOUSE} if house else ()),
        pot=("SETTLED", -pot_chips),
    )


def full_pot() -> PotRow:
    """A pot that takes no further contribution."""
    made = pot(*[(1, "alice", 1)] * MAX_POT_ENTRIES)
    return PotRow("a pot of too many entries takes no more", (ALICE, made), contribute(1), Outcome.POT_LIMIT)


CONTRIBUTE = [
    PotRow("the first contribution opens the pot", (ALICE,), contribute(5), effect=into_pot(5)),
    PotRow("a seat may contribute again", (ALICE, HEADS_UP), contribute(5), effect=into_pot(5)),
    PotRow("another seat may too", (ALICE, SMALL), contribute(5, seat_id=3), effect=into_pot(5)),
    PotRow(
        "a settled pot takes no more",
        (ALICE, settled(SMALL)),
        contribute(5),
        Outcome.POT_NOT_ACTIVE,
        STICKS,
    ),
    PotRow(
        "a cancelled pot takes no more",
        (ALICE, cancelled(SMALL)),
        contribute(5),
        Outcome.POT_NOT_ACTIVE,
        STICKS,
    ),
    PotRow("nobody contributes nothing", (), contribute(5), Outcome.ACCOUNT_NOT_FOUND, STICKS),
    PotRow("a frozen account is refused", (FROZEN_ALICE,), contribute(5), Outcome.ACCOUNT_FROZEN),
    PotRow(
        "a seat plays for one account",
        (ALICE, HEADS_UP),
        contribute(5, seat_id=2),
        Outcome.SEAT_TAKEN,
        STICKS,
    ),
    PotRow(
        "a pot may hold all there can be",
        (ALICE, pot((1, "alice", MAX_CHIPS - 5))),
        contribute(5),
        effect=into_pot(5),
    ),
    PotRow(
        "a pot holds no more than that",
        (ALICE, pot((2, "bob", MAX_CHIPS - 5))),
        contribute(6),
        Outcome.INVALID_AMOUNT,
        STICKS,
    ),
    full_pot(),
    PotRow("observe lets chips in that never came", (ALICE,), contribute(5), effect=into_pot(5), in_play=4),
    PotRow(
        "enforce takes all that came", (ALICE,), contribute(5), effect=into_pot(5), policy=ENFORCE, in_play=5
    ),
    PotRow(
        "enforce takes no chip more",
        (ALICE,),
        contribute(5),
        Outcome.NOT_ON_TABLE,
        STICKS,
        policy=ENFORCE,
        in_play=4,
    ),
]

SETTLE = [
    PotRow(
        "the whole pot is paid less rake",
        (ALICE, HEADS_UP),
        settle((1, "alice", 100)),
        effect=paid(100, alice=95, house=5),
    ),
    PotRow(
        "amounts less rake are paid as they are",
        (ALICE, HEADS_UP),
        settle((1, "alice", 95)),
        effect=paid(100, alice=95, house=5),
    ),
    PotRow("a small pot pays no rake", (ALICE, SMALL), settle((1, "alice", 20)), effect=paid(20, alice=20)),
    PotRow(
        "the odd chip goes to the lowest seat",
        (ALICE, BOB, HEADS_UP),
        settle((2, "bob", 50), (1, "alice", 50)),
        effect=paid(100, alice=48, bob=47, house=5),
    ),
    PotRow(
        "the parts of a seat add up",
        (ALICE, BOB, THREE),
        settle((2, "bob", 30), (2, "bob", 60)),
        effect=paid(90, bob=86, house=4),
    ),
    PotRow(
        "side pots go to those who paid into them",
        (ALICE, BOB, THREE),
        settle((1, "alice", 30), (2, "bob", 60)),
        effect=paid(90, alice=29, bob=57, house=4),
    ),
    PotRow(
        "winners may be paid back in play",
        (ALICE, HEADS_UP),
        settle((1, "alice", 100), to="TABLE"),
        effect=PotEffect(
            balances={HOUSE: 5}, opened=frozenset({HOUSE}), in_play={"alice": 95}, pot=("SETTLED", -100)
        ),
    ),
    PotRow(
        "the house may have its account already",
        (ALICE, HEADS_UP, account(HOUSE, 7)),
        settle((1, "alice", 100)),
        effect=PotEffect(balances={"alice": 95, HOUSE: 5}, pot=("SETTLED", -100)),
    ),
    PotRow(
        "a winner without account gets one",
        (SMALL,),
        settle((1, "alice", 20)),
        effect=PotEffect(balances={"alice": 20}, opened=frozenset({"alice"}), pot=("SETTLED", -20)),
    ),
    PotRow(
        "one paid back in play gets one too",
        (SMALL,),
        settle((1, "alice", 20), to="TABLE"),
        effect=PotEffect(
            balances={"alice": 0},
            opened=frozenset({"alice"}),
            in_play={"alice": 20},
            pot=("SETTLED", -20),
        ),
    ),
    PotRow(
        "a winner whom the rake leaves nothing is not posted",
        (ALICE, BOB, HEADS_UP),
        settle((1, "alice", 99), (2, "bob", 1)),
        effect=paid(100, alice=5, house=95),
        policy=Policy(rake=RakeRule(9_500, 95, 0)),
    ),
    PotRow("no pot, no settlement", (ALICE,), settle((1, "alice", 100)), Outcome.POT_NOT_FOUND),
    PotRow(
        "a cancelled pot is not paid",
        (ALICE, cancelled(HEADS_UP)),
        settle((1, "alice", 100)),
        Outcome.POT_NOT_ACTIVE,
        STICKS,
    ),
    PotRow(
        "a settled pot is not paid again",
        (ALICE, settled(HEADS_UP)),
        settle((2, "bob", 100)),
    ),
    *(
        PotRow(
            f"{amount} is neither the pot nor the pot less rake",
            (ALICE, HEADS_UP),
            settle((1, "alice", amount)),
            Outcome.SETTLEMENT_MISMATCH,
        )
        for amount in (1, 94, 96, 99, 101, 2 * MAX_CHIPS)
    ),
    PotRow(
        "a frozen winner stops it all",
        (FROZEN_ALICE, BOB, HEADS_UP),
        settle((1, "alice", 50), (2, "bob", 50)),
        Outcome.ACCOUNT_FROZEN,
    ),
    PotRow(
        "back in play it is stopped as well",
        (FROZEN_ALICE, HEADS_UP),
        settle((1, "alice", 100), to="TABLE"),
        Outcome.ACCOUNT_FROZEN,
    ),
    PotRow(
        "so does a frozen house",
        (ALICE, HEADS_UP, account(HOUSE, status=FROZEN)),
        settle((1, "alice", 100)),
        Outcome.ACCOUNT_FROZEN,
    ),
    PotRow(
        "a frozen house is not asked without rake",
        (ALICE, HEADS_UP, account(HOUSE, status=FROZEN)),
        settle((1, "alice", 100)),
        effect=paid(100, alice=100),
        policy=NO_RAKE,
    ),
    PotRow(
        "frozen comes before mismatch",
        (FROZEN_ALICE, HEADS_UP),
        settle((1, "alice", 99)),
        Outcome.ACCOUNT_FROZEN,
    ),
    PotRow(
        "mismatch comes before eligibility",
        (BOB, HEADS_UP),
        settle((1, "bob", 99)),
        Outcome.SETTLEMENT_MISMATCH,
    ),
    PotRow(
        "another account than the contributor wins nothing",
        (ALICE, BOB, HEADS_UP),
        settle((1, "bob", 100)),
        Outcome.SETTLEMENT_NOT_ELIGIBLE,
        STICKS,
    ),
    PotRow(
        "nor does it beside the contributor",
        (ALICE, BOB, HEADS_UP),
        settle((1, "alice", 50), (1, "bob", 50)),
        Outcome.SETTLEMENT_NOT_ELIGIBLE,
        STICKS,
    ),
    PotRow(
        "a seat that put in nothing wins nothing",
        (ALICE, HEADS_UP),
        settle((3, "alice", 100)),
        Outcome.SETTLEMENT_NOT_ELIGIBLE,
        STICKS,
    ),
    PotRow(
        "a short stack wins the main pot only",
        (ALICE, BOB, THREE),
        settle((1, "alice", 31), (2, "bob", 59)),
        Outcome.SETTLEMENT_NOT_ELIGIBLE,
        STICKS,
    ),
    PotRow(
        "a folded seat wins nothing",
        (ALICE, BOB, HEADS_UP),
        settle((1, "alice", 1), (2, "bob", 99), folded=(1,)),
        Outcome.SETTLEMENT_NOT_ELIGIBLE,
        STICKS,
    ),
    PotRow(
        "a folded seat gets its uncalled chips back",
        (ALICE, BOB, pot((1, "alice", 10), (2, "bob", 4))),
        settle((1, "alice", 6), (2, "bob", 8), folded=(1,)),
        effect=paid(14, alice=6, bob=8),
    ),
    PotRow(
        "two short stacks together win the main pot only",
        (ALICE, BOB, CARL, pot((1, "alice", 10), (2, "bob", 10), (3, "carl", 100), (4, "dora", 100))),
        settle((1, "alice", 40), (2, "bob", 40), (3, "carl", 140)),
        Outcome.SETTLEMENT_NOT_ELIGIBLE,
        STICKS,
    ),
    PotRow(
        "a balance stays in the range",
        (account(balance=MAX_CHIPS - 94), BOB, HEADS_UP),
        settle((1, "alice", 100)),
        Outcome.INVALID_AMOUNT,
        STICKS,
    ),
    PotRow(
        "a balance may reach its end",
        (account(balance=MAX_CHIPS - 95), BOB, HEADS_UP),
        settle((1, "alice", 100)),
        effect=paid(100, alice=95, house=5),
    ),
    PotRow(
        "two seats of one account must fit together",
        (account(balance=MAX_CHIPS - 19), pot((1, "alice", 10), (2, "alice", 10))),
        settle((1, "alice", 10), (2, "alice", 10)),
        Outcome.INVALID_AMOUNT,
        STICKS,
    ),
    PotRow(
        "two seats of one account are paid both",
        (ALICE, pot((1, "alice", 10), (2, "alice", 10))),
        settle((1, "alice", 10), (2, "alice", 10)),
        effect=paid(20, alice=20),
    ),
]

CANCELS = [
    PotRow("no pot, nothing to cancel", (ALICE,), CANCEL, Outcome.POT_NOT_FOUND),
    PotRow(
        "everybody gets back what they put in",
        (THREE,),
        CANCEL,
        effect=PotEffect(in_play={"alice": 10, "bob": 40, "carl": 40}, pot=("CANCELLED", -90)),
    ),
    PotRow(
        "two seats of one account get both back",
        (pot((1, "alice", 10), (2, "alice", 7)),),
        CANCEL,
        effect=PotEffect(in_play={"alice": 17}, pot=("CANCELLED", -17)),
    ),
    PotRow("a cancelled pot is cancelled", (cancelled(HEADS_UP),), CANCEL),
    PotRow(
        "a settled pot is not",
        (settled(HEADS_UP),),
        CANCEL,
        Outcome.POT_NOT_ACTIVE,
    ),
]

ROWS = [*CONTRIBUTE, *SETTLE, *CANCELS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rule(row: PotRow) -> None:
    """The line of the table holds, and deciding changes nothing by itself."""
    row.check()


def test_no_line_stands_twice() -> None:
    """A name is found again in the report."""
    assert len({str(row) for row in ROWS}) == len(ROWS)
