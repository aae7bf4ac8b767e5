"""What a method of a resource is, said once: who may call it, what it takes, what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Protocol

from marshmallow import Schema

from app.services.access import Action

Link = tuple[str, Mapping[str, str]]
"""The name of an operation that an answer leads to, and where its parameters are found."""

SAME_ACCOUNT = {"accountId": "$request.path.accountId"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The published interface is made of these, and the middleware heeds them.

    `access` is what the caller must be allowed; None: anyone may, without a token. A `keyed` operation needs
    the header Idempotency-Key. One that `may_be_stale` answers what was known last while the store is away,
    and says so in headers. Instead of one `body` it may take one of several `bodies`, or lines of JSON.
    `errors` are the statuses beside those of every operation of its kind. Without
    a name the operation is not published.
    """

    name: str = ""
    summary: str = ""
    access: Action | None
    answers: Mapping[HTTPStatus, type[Schema]] = field(default_factory=dict)
    body: Schema | None = None
    bodies: Mapping[str, Schema] = field(default_factory=dict)
    json_lines: type[Schema] | None = None
    query: Schema | None = None
    keyed: bool = False
    may_be_stale: bool = False
    errors: frozenset[HTTPStatus] = field(default=frozenset())
    links: tuple[Link, ...] = ()


Operations = Mapping[str, Operation]
"""By method: GET, POST, ..."""


class Resource(Protocol):
    """What our routes lead to."""

    operations: ClassVar[Operations]
