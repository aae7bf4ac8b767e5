"""How commands of ops reach the service: always by HTTP; each is allowed, done and logged in one place.

Must not send anything twice by itself: every deed is safe to repeat, but that is for its caller to say.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode

import click

from app.cli.supervisor import REFUSED
from app.cli.target import HttpConnection, find_target, http_target_options
from app.config import Settings

TIMEOUT_SECONDS = 60.0
_REFUSALS = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})


Deed = dict[str, Any]
"""Why, and whether only to say what would be done: the body of whatever changes something."""


class RefusedError(click.ClickException):
    """The service has looked at it and says no."""

    exit_code = 1


class NoServiceError(click.ClickException):
    """The service does not answer, or not to this caller."""

    exit_code = REFUSED


class OpsService:
    """The HTTP interface for ops of one service, and how its answers are shown."""

    def __init__(self, target: str | None, token: str | None, *, as_json: bool = False) -> None:
        found = find_target(Settings.from_environment(os.environ), target, token)
        self._target = replace(found, http=target) if target else found
        self._as_json = as_json

    def get(self, *path: str, **query: str | int | None) -> dict[str, Any]:
        """What is at /api/ops/PATH; a query of None or "" is left out."""
        asked = {name: value for name, value in query.items() if value not in (None, "")}
        return self._ask("GET", _path(path) + (f"?{urlencode(asked)}" if asked else ""))

    def post(self, *path: str, body: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        """What comes of this body at /api/ops/PATH, under an idempotency key where there is one."""
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        return self._ask("POST", _path(path), json.dumps(body), headers)

    def show(self, answer: Mapping[str, Any], text: str) -> None:
        """Print the answer as one line of JSON where that is wanted, else the text."""
        click.echo(json.dumps(answer) if self._as_json else text)

    def _ask(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        target = self._target
        bearer = {"Authorization": f"Bearer {target.token}"} if target.token else {}
        connection = HttpConnection(target.http, target.tls, TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, {**bearer, **(headers or {})})
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise NoServiceError(f"the service at {target.http} does not answer: {error}") from error
        finally:
            connection.close()
        if response.status == HTTPStatus.OK:
            return answer
        told = f"{answer.get('error')}: {answer.get('message')}"
        if response.status in _REFUSALS:
            raise RefusedError(told)
        raise NoServiceError(f"the service at {target.http} answers {response.status} {told}")


def ops_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --target, --token-file and --json to a command, which is given the `service` that they lead to."""

    @wraps(command)
    def run(*, target: str | None, token: str | None, as_json: bool, **given: Any) -> None:
        command(service=OpsService(target, token, as_json=as_json), **given)

    return http_target_options(click.option("--json", "as_json", is_flag=True, help="One line of JSON.")(run))


def deed_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same with --reason and --dry-run, for what changes something: they are in the `deed`, a body."""

    @wraps(command)
    def run(*, reason: str, dry_run: bool, **given: Any) -> None:
        command(deed={"reason": reason, "dryRun": dry_run}, **given)

    reason = click.option("--reason", required=True, help="Why; it goes into the ops log.")
    dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
    return ops_options(reason(dry_run(run)))


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns of even width; the first one is the heading."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _path(parts: tuple[str, ...]) -> str:
    return "/".join(["/api/ops", *(quote(part, safe="") for part in parts)])
