"""`balance table`: what lies on one table, as ops see it, from the store itself; and its closing."""

import json
import os
import sys
from functools import partial
from uuid import uuid4

import click

from app.cli.ops_service import Deed, OpsService, deed_options
from app.cli.ops_service import table as in_columns
from app.cli.store import look_up, with_store
from app.config import Settings
from app.services.lookups import TableView
from app.storage.lookups import StoreLookups


@click.group()
def table() -> None:
    """Look at tables, and close them."""


@table.command()
@click.argument("table_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def show(table_id: str, *, as_json: bool) -> None:
    """Show a table: chips in play by account, chips in open pots, and the deficit.

    The deficit is what accounts have taken from the table without having brought it there, which happens
    under TABLE_BANK=observe alone. Reads the store as `balance verify` does. Exit code 2 when it cannot.
    """
    view = with_store(Settings.from_environment(os.environ), partial(_read, table_id))
    shown = {
        "tableId": view.table_id,
        "inPlay": view.in_play,
        "openPots": view.pots,
        "totalInPlay": sum(view.in_play.values()),
        "totalInPots": sum(view.pots.values()),
        "deficit": view.deficit,
    }
    click.echo(json.dumps(shown) if as_json else _told(view))


@table.command()
@click.argument("table_id", metavar="ID")
@click.option("--key", help="Idempotency key: the same one closes the table once.")
@deed_options
def close(table_id: str, *, key: str | None, service: OpsService, deed: Deed) -> None:
    """Cancel a table's pots, then cash out all that is in play there. Safe to repeat.

    Exit code 1 when a pot or a player was refused, as with a frozen account, or a hand went on meanwhile and
    chips are STILL_IN_PLAY: close it again.
    """
    answer = service.post("tables", table_id, "close", body=deed, key=key or uuid4().hex)
    rows = [("WHAT", "WHO", "CHIPS", "OUTCOME")]
    rows += [
        (each["what"], each["subject"], str(each["amount"]), each["outcome"]) for each in answer["steps"]
    ]
    service.show(answer, in_columns(rows) if answer["steps"] else "Nothing lies there.")
    sys.exit(0 if all(each["outcome"] == "OK" for each in answer["steps"]) else 1)


def _read(table_id: str, url: str) -> TableView:
    return look_up(url, lambda connection, partitions: StoreLookups(connection, partitions).table(table_id))


def _told(view: TableView) -> str:
    lines = [("table", view.table_id)]
    lines += [
        (f"in play  {account_id}", str(view.in_play[account_id])) for account_id in sorted(view.in_play)
    ]
    lines += [(f"pot of   {hand_id}", str(view.pots[hand_id])) for hand_id in sorted(view.pots)]
    lines.append(("deficit", str(view.deficit)))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in lines)
