"""`balance account`: accounts and ledgers as ops see them, from the store or a service; freeze, unfreeze."""

import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

import click
import msgspec

from app.cli.operate import show_order
from app.cli.ops_service import Deed, OpsService, deed_options, ops_options
from app.cli.ops_service import table as in_columns
from app.cli.store import NoStoreError, look_up, with_store
from app.cli.target import HttpConnection, Target, find_target, target_options
from app.config import Settings
from app.domain.ledger import LedgerEntry, TransactionType
from app.services.history import Transactions
from app.services.times import iso_time
from app.storage.history import StoreHistory
from app.storage.queries import StoreQueries

_TIMEOUT_SECONDS = 5.0
_HEADING = ("SEQ", "TIME", "TYPE", "AMOUNT", "BALANCE", "TRANSACTION", "ABOUT")
_SHOWN = ("accountId", "balance", "availableBalance", "reserved", "currency", "version", "status")


@click.group()
def account() -> None:
    """Look into accounts, freeze and unfreeze them."""


@account.command()
@click.argument("account_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
@target_options
def show(account_id: str, *, as_json: bool, target: str | None, token: str | None) -> None:
    """Show an account: its balance, what of it is available, what is held.

    Reads the store as `balance verify` does; with --target it asks that service by HTTP, which knows less.
    Exit code 1 when there is no such account, 2 when nobody can say.
    """
    settings = Settings.from_environment(os.environ)
    if target:
        shown = _ask(find_target(settings, target, token), account_id)
    else:
        shown = with_store(settings, partial(_read, account_id))
    if shown is None:
        _missing(account_id)
    elif as_json:
        click.echo(json.dumps(shown))
    else:
        click.echo("\n".join(f"{name:<18}{value}" for name, value in shown.items()))


@account.command()
@click.argument("account_id", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Not the N newest.")
@click.option("--type", "kind", type=click.Choice(list(TransactionType)), help="Only those.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def ledger(account_id: str, *, limit: int, skip: int, kind: str | None, as_json: bool) -> None:
    """Show what has changed an account's balance, the newest first, each entry checked against its checksum.

    Reads the store as `balance verify` does. Exit code 1 when there is no such account, 2 when an entry, or
    the store, cannot be read.
    """
    page = partial(_page, account_id, kind=kind or "", offset=skip, limit=limit)
    found = with_store(Settings.from_environment(os.environ), page)
    if found is None:
        _missing(account_id)
    elif as_json:
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(in_columns([_HEADING, *map(_row, found.entries)]))
        click.echo(f"{len(found.entries):,} of {found.total:,} entries.")


@account.command(name="list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--after", metavar="PLACE", help="The next page, as the page before names it.")
@click.option("--status", type=click.Choice(["ACTIVE", "FROZEN"]), help="Only those.")
@ops_options
def list_(limit: int, after: str | None, *, status: str | None, service: OpsService) -> None:
    """List accounts, page by page."""
    found = service.get("accounts", limit=limit, after=after, status=status)
    rows = [("ACCOUNT", "BALANCE", "RESERVED", "VERSION", "STATUS")]
    for each in found["accounts"]:
        numbers = (str(each[name]) for name in ("balance", "reserved", "version"))
        rows.append((each["accountId"], *numbers, each["status"]))
    more = f"\n... and more, from --after '{found['next']}'" if found["next"] else ""
    service.show(found, in_columns(rows) + more)


@account.command()
@click.argument("account_id", metavar="ID")
@deed_options
def freeze(account_id: str, *, service: OpsService, deed: Deed) -> None:
    """Have an account refuse all commands of callers."""
    show_order(service, service.post("accounts", account_id, "freeze", body=deed))


@account.command()
@click.argument("account_id", metavar="ID")
@deed_options
def unfreeze(account_id: str, *, service: OpsService, deed: Deed) -> None:
    """Let an account take commands again; refused while the end of its ledger is broken."""
    show_order(service, service.post("accounts", account_id, "unfreeze", body=deed))


def _missing(account_id: str) -> None:
    click.echo(f"balance account: there is no account {account_id}", err=True)
    sys.exit(1)


def _page(account_id: str, url: str, *, kind: str, offset: int, limit: int) -> Transactions | None:
    """That part of the ledger; None when there is no such account."""
    return look_up(
        url,
        lambda connection, partitions: StoreHistory(connection, partitions).transactions(
            account_id, kind=kind, offset=offset, limit=limit
        ),
    )


def _row(entry: LedgerEntry) -> tuple[str, ...]:
    about = msgspec.to_builtins(entry.metadata)
    return (
        str(entry.seq),
        iso_time(entry.timestamp),
        entry.type,
        f"{entry.amount:+}",
        str(entry.balance_after),
        entry.transaction_id,
        " ".join(f"{name}={value}" for name, value in about.items()),
    )


def _read(account_id: str, url: str) -> Mapping[str, Any] | None:
    """The account from the store; None when there is none."""
    view = look_up(
        url, lambda connection, partitions: StoreQueries(connection, partitions).balance(account_id)
    )
    found = msgspec.to_builtins(view)
    return {name: found[name] for name in _SHOWN} if view.exists else None


def _ask(target: Target, account_id: str) -> Mapping[str, Any] | None:
    """What the service's HTTP front end says of the account; None when there is none."""
    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    connection = HttpConnection(target.http, target.tls, _TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"/api/accounts/{quote(account_id, safe='')}/balance", headers=headers)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        raise NoStoreError(f"the service at {target.http} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status == HTTPStatus.NOT_FOUND:
        return None
    if response.status != HTTPStatus.OK:
        raise NoStoreError(f"the service at {target.http} answers {response.status}: {answer.get('message')}")
    return answer
