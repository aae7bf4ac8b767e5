"""Who may do what: the one decision, for every front end (CONTRACT 2). Pure."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

SERVICE_SCOPE = "balance:service"
OPS_SCOPE = "balance:ops"


class Unauthenticated(Exception):
    """The caller did not prove who they are. The text says what is missing and quotes nothing they sent."""


class Forbidden(Exception):
    """The caller is known and may not do this."""


class Action(Enum):
    """What a route or method lets its caller do."""

    READ_ACCOUNT = auto()
    CALL_SERVICE = auto()  # any gRPC method: that front end is for services
    OPERATE = auto()


@dataclass(frozen=True, slots=True)
class Principal:
    """A proven caller. `subject` is the account that a player may act on."""

    subject: str
    scopes: frozenset[str] = frozenset()


def may(principal: Principal, action: Action, account_id: str = "") -> bool:
    """True if the principal may do this, on this account where the action is about one."""
    match action:
        case Action.READ_ACCOUNT:
            return SERVICE_SCOPE in principal.scopes or principal.subject == account_id
        case Action.CALL_SERVICE:
            return SERVICE_SCOPE in principal.scopes
        case Action.OPERATE:
            return OPS_SCOPE in principal.scopes
    assert_never(action)
