"""Who may do what: the one decision, for every front end (CONTRACT 2). Pure."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from app.domain.identifiers import is_house_id

SERVICE_SCOPE = "balance:service"
OPS_SCOPE = "balance:ops"


class Unauthenticated(Exception):
    """The caller did not prove who they are. The text says what is missing and quotes nothing they sent."""


class Forbidden(Exception):
    """The caller is known and may not do this."""


class Action(Enum):
    """What a route or method lets its caller do."""

    READ_ACCOUNT = auto()
    OPEN_ACCOUNT = auto()  # with balance 0
    WITHDRAW = auto()
    MAKE_CHIPS = auto()  # a deposit, or an initial balance
    READ_ANY = auto()  # what names no account
    SUBMIT = auto()  # commands and batches that nobody waits for
    CALL_SERVICE = auto()  # any gRPC method: that front end is for services
    OPERATE = auto()


@dataclass(frozen=True, slots=True)
class Principal:
    """A proven caller. `subject` is the account that a player may act on."""

    subject: str
    scopes: frozenset[str] = frozenset()


HOUSE_ACTIONS = frozenset({Action.READ_ACCOUNT, Action.WITHDRAW})
"""What may be done to a house account, by ops; for any other action its id is malformed."""


def may(principal: Principal, action: Action, account_id: str = "", *, player_deposits: bool = False) -> bool:
    """True if the principal may do this, on this account where the action is about one.

    With `player_deposits` (play money) players make chips on their own account.
    """
    if is_house_id(account_id):
        return action in HOUSE_ACTIONS and OPS_SCOPE in principal.scopes
    is_service = SERVICE_SCOPE in principal.scopes
    is_own = principal.subject == account_id
    match action:
        case Action.READ_ACCOUNT | Action.OPEN_ACCOUNT | Action.WITHDRAW:
            return is_service or is_own
        case Action.MAKE_CHIPS:
            return is_service or (is_own and player_deposits)
        case Action.READ_ANY | Action.SUBMIT | Action.CALL_SERVICE:
            return is_service
        case Action.OPERATE:
            return OPS_SCOPE in principal.scopes
    assert_never(action)
