"""Who may do what: every action, by every kind of caller, on their own account and on another's."""

import pytest

from app.services.access import Action, Principal, may

PRINCIPALS = {
    "player": Principal("alice"),
    "service": Principal("poker", frozenset({"balance:service"})),
    "ops": Principal("olga", frozenset({"balance:ops"})),
    "stranger": Principal("eve", frozenset({"service", "balance:*", "balance:service:read", "BALANCE:OPS"})),
}

# (action, caller): on which accounts.
ALLOWED = {
    (Action.READ_ACCOUNT, "player"): {"own"},
    (Action.READ_ACCOUNT, "service"): {"own", "other"},
    (Action.READ_ACCOUNT, "ops"): {"own"},
    (Action.READ_ACCOUNT, "stranger"): {"own"},
    (Action.CALL_SERVICE, "player"): set[str](),
    (Action.CALL_SERVICE, "service"): {"own", "other"},
    (Action.CALL_SERVICE, "ops"): set[str](),
    (Action.CALL_SERVICE, "stranger"): set[str](),
    (Action.OPERATE, "player"): set[str](),
    (Action.OPERATE, "service"): set[str](),
    (Action.OPERATE, "ops"): {"own", "other"},
    (Action.OPERATE, "stranger"): set[str](),
}


@pytest.mark.parametrize("caller", PRINCIPALS)
@pytest.mark.parametrize("action", Action)
def test_each_caller_may_do_exactly_this(action: Action, caller: str) -> None:
    """An action without a row here fails: whoever adds one says who may do it."""
    principal = PRINCIPALS[caller]
    accounts = {"own": principal.subject, "other": "somebody-else"}
    allowed = {whose for whose, account in accounts.items() if may(principal, action, account)}
    assert allowed == ALLOWED[action, caller]
