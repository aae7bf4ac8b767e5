"""Who may do what: every action, by every kind of caller, on their own account and on another's."""

import pytest

from app.services.access import Action, Principal, may

PRINCIPALS = {
    "player": Principal("alice"),
    "service": Principal("poker", frozenset({"balance:service"})),
    "ops": Principal("olga", frozenset({"balance:ops"})),
    "stranger": Principal("eve", frozenset({"service", "balance:*", "balance:service:read", "BALANCE:OPS"})),
    "house": Principal("$house-007"),
}
OWN, PLAYERS, NONE = {"own"}, {"own", "other"}, set[str]()

# Action: by caller, on which accounts. Whoever is not named may what a player may.
ALLOWED = {
    Action.READ_ACCOUNT: {"player": OWN, "service": PLAYERS, "ops": {"own", "house"}},
    Action.OPEN_ACCOUNT: {"player": OWN, "service": PLAYERS, "ops": OWN},
    Action.WITHDRAW: {"player": OWN, "service": PLAYERS, "ops": {"own", "house"}},
    Action.MAKE_CHIPS: {"player": NONE, "service": PLAYERS, "ops": NONE},
    Action.READ_ANY: {"player": NONE, "service": PLAYERS, "ops": NONE},
    Action.SUBMIT: {"player": NONE, "service": PLAYERS, "ops": NONE},
    Action.CALL_SERVICE: {"player": NONE, "service": PLAYERS, "ops": NONE},
    Action.OPERATE: {"player": NONE, "service": NONE, "ops": PLAYERS},
}


def allowed(action: Action, principal: Principal, *, player_deposits: bool = False) -> set[str]:
    accounts = {"own": principal.subject, "other": "somebody-else", "house": "$house-012"}
    return {
        whose
        for whose, account in accounts.items()
        if may(principal, action, account, player_deposits=player_deposits)
    }


@pytest.mark.parametrize("caller", ["player", "service", "ops", "stranger"])
@pytest.mark.parametrize("action", Action)
def test_each_caller_may_do_exactly_this(action: Action, caller: str) -> None:
    """An action without a row here fails: whoever adds one says who may do it."""
    row = ALLOWED[action]
    assert allowed(action, PRINCIPALS[caller]) == row.get(caller, row["player"])


@pytest.mark.parametrize("action", Action)
def test_a_player_named_as_a_house_account_may_nothing(action: Action) -> None:
    """The account is not theirs for having its name."""
    assert allowed(action, PRINCIPALS["house"]) == NONE


def test_play_money_is_the_players_own_to_make() -> None:
    """Only where the operator says so, and never on another's account."""
    assert allowed(Action.MAKE_CHIPS, PRINCIPALS["player"], player_deposits=True) == OWN
    assert allowed(Action.MAKE_CHIPS, PRINCIPALS["house"], player_deposits=True) == NONE
