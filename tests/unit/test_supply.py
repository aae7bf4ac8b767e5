"""The supply equation: where every chip is, and where it came from."""

from app.services.verification import Supply, supply_of

BALANCED = Supply(
    deposits=170,
    withdrawals=70,
    accounts=80,
    in_play=23,
    table_deficits=20,
    in_pots=12,
    house=5,
    difference=0,
)


def test_the_supply_equation_counts_chips_by_where_they_came_from() -> None:
    """Four types make chips, WITHDRAW ends them; chips that no table had are no loss."""
    tally = {
        "CHIPS|balances": 80,
        "CHIPS|house": 5,
        "CHIPS|inPlay": 3,
        "CHIPS|inPots": 12,
        "CHIPS|type|DEPOSIT": 100,
        "CHIPS|type|BONUS": 40,
        "CHIPS|type|REFERRAL": 20,
        "CHIPS|type|PAYOUT": 10,
        "CHIPS|type|WITHDRAW": -70,
        "CHIPS|type|BUY_IN": -50,
    }
    assert supply_of(tally, 20) == BALANCED
    assert supply_of(tally | {"CHIPS|balances": 79}, 20).difference == -1


def test_what_is_there_is_the_sum_of_all_places() -> None:
    """A deficit is taken off: those chips stand on an account, and were on no table."""
    assert BALANCED.present == 80 + 23 - 20 + 12 + 5
