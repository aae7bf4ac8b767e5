"""`balance verify`: the audit of the whole store as a command. It changes nothing."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NoReturn

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from app.cli.findings import print_book, read_book
from app.cli.store import NoStoreError, with_store
from app.config import Settings
from app.services.faults import BalanceFault
from app.services.verification import Report, Supply, told
from app.storage.auditing import Auditor, Progress, partitions_of
from app.storage.backends.valkey import ValkeyBackend

_MOST_SHOWN = 20
_EQUATION: Mapping[str, Callable[[Supply], int]] = {
    "accounts": lambda supply: supply.accounts,
    "+ in play on tables": lambda supply: supply.in_play,
    "- taken from tables, never brought": lambda supply: supply.table_deficits,
    "+ in pots": lambda supply: supply.in_pots,
    "+ house": lambda supply: supply.house,
    "= chips that are there": lambda supply: supply.present,
    "deposits": lambda supply: supply.deposits,
    "- withdrawals": lambda supply: supply.withdrawals,
    "= chips that must be there": lambda supply: supply.deposits - supply.withdrawals,
    "difference": lambda supply: supply.difference,
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The whole report as one line of JSON.")
@click.option("--findings", is_flag=True, help="Only show what the audits of the running service have found.")
def verify(*, as_json: bool, findings: bool) -> None:
    """Recompute every balance, ledger, hold and total from the records.

    Reads the store of REDIS_URL, or that in DATA_DIR, whether the service runs or not. Exit code 0 when all
    is well, 1 when something is not (the first bad entry is named), 2 when it could not be verified.
    """
    if findings:
        _show_findings(as_json=as_json)
    started = time.monotonic()
    try:
        report = with_store(Settings.from_environment(os.environ), _audit)
    except KeyboardInterrupt:
        raise NoStoreError("interrupted") from None
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _print(report, time.monotonic() - started)
    sys.exit(0 if report.ok else 1)


def _show_findings(*, as_json: bool) -> NoReturn:
    book = with_store(Settings.from_environment(os.environ), read_book)
    if as_json:
        click.echo(msgspec.json.encode(book))
    else:
        print_book(book)
    sys.exit(0 if book.ok else 1)


def _audit(url: str) -> Report:
    try:
        with closing(ValkeyBackend(url)) as backend, _shown() as on_progress:
            return Auditor(backend, partitions_of(backend), on_progress).run()
    except BalanceFault as fault:
        raise NoStoreError(f"the store cannot be verified: {fault}") from fault


@contextmanager
def _shown() -> Iterator[Progress]:
    """Show how far the audit is, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=max(done, of))


def _print(report: Report, seconds: float) -> None:
    console = Console(highlight=False)
    console.print(
        f"{report.accounts:,} accounts, {report.entries:,} ledger entries,"
        f" {report.reservations:,} reservations: {seconds:.1f} s"
    )
    console.print(_equation(report.supply, report.totals))
    if bad := report.first_bad_entry:
        click.echo(f"The first bad entry is entry {bad.seq} of account {bad.account_id}.")
    for finding in report.findings[:_MOST_SHOWN]:
        click.echo(told(finding))
    if more := max(0, len(report.findings) - _MOST_SHOWN) + report.omitted:
        click.echo(f"... and {more:,} more")
    click.echo("Every chip is accounted for." if report.ok else "NOT AS IT MUST BE.")


def _equation(supply: Supply, totals: Supply) -> Table:
    """The supply equation, side by side as the records and as the totals have it."""
    table = Table("Chips")
    table.add_column("by the records", justify="right")
    table.add_column("by the totals", justify="right")
    for name, of in _EQUATION.items():
        table.add_row(name, f"{of(supply):,}", f"{of(totals):,}", end_section=name.startswith("="))
    return table
