"""`balance table`: what lies on one table, as ops see it, from the store itself."""

import asyncio
import json
import os
from contextlib import closing
from functools import partial

import click

from app.cli.store import NoStoreError, with_store
from app.config import Settings
from app.services.faults import BalanceFault
from app.services.lookups import TableView
from app.storage.auditing import partitions_of
from app.storage.backends.valkey import ValkeyBackend
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.lookups import StoreLookups


@click.group()
def table() -> None:
    """Look at tables."""


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


def _read(table_id: str, url: str) -> TableView:
    try:
        with closing(ValkeyBackend(url)) as backend:
            partitions = partitions_of(backend)
        return asyncio.run(_view(table_id, url, partitions))
    except BalanceFault as fault:
        raise NoStoreError(f"the store cannot be read: {fault}") from fault


async def _view(table_id: str, url: str, partitions: int) -> TableView:
    lookups = StoreLookups(AsyncConnection(url), partitions)
    try:
        return await lookups.table(table_id)
    finally:
        await lookups.close()


def _told(view: TableView) -> str:
    lines = [("table", view.table_id)]
    lines += [
        (f"in play  {account_id}", str(view.in_play[account_id])) for account_id in sorted(view.in_play)
    ]
    lines += [(f"pot of   {hand_id}", str(view.pots[hand_id])) for hand_id in sorted(view.pots)]
    lines.append(("deficit", str(view.deficit)))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in lines)
