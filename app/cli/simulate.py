"""`balance simulate`: players play against a running service, and every chip is accounted for at the end."""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import click
import grpc.aio
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from app.cli.simulation.caller import Caller
from app.cli.simulation.report import Report
from app.cli.simulation.run import Simulation
from app.cli.simulation.tally import Tally
from app.cli.target import Target, find_target, target_options
from app.config import Settings
from app.rpc.tls import aio_channel

_UNREACHABLE = 2
_CONNECT_SECONDS = 3.0
_REFRESH_SECONDS = 0.25
_PLAYERS, _PLAYERS_OF_A_TABLE = 100, 6
# A front end that was started again is to be found before calls give up (see `caller`).
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


@click.command()
@click.option("--players", type=click.IntRange(1, 100_000), help="[default: 100; with --hands 6 a table]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=64, show_default=True)
@click.option("--hands", type=click.IntRange(1, 1_000_000), help="Play so many full hands, in all.")
@click.option("--tables", type=click.IntRange(1, 1_000), default=1, show_default=True, help="With --hands.")
@click.option("--seed", type=int, help="Have the players try what they tried in an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print one object on one line.")
@target_options
@click.pass_context
def simulate(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    players: int | None,
    seconds: float,
    hands: int | None,
    tables: int,
    seed: int | None,
    concurrency: int,
    as_json: bool,
    target: str | None,
    token: str | None,
) -> None:
    """Play poker against a running service and compare every balance.

    Players deposit, buy in, cash out and withdraw; they repeat requests, also at once, and provoke each
    refusal. At most CONCURRENCY calls are in flight; one that finds the service away is sent again, under
    its key.

    With --hands they play full hands of no-limit hold'em through the client instead, PLAYERS at each of
    TABLES tables: all-ins, side pots, rake, cancelled hands, players that leave and come; after each hand
    every stack is compared with the chips that the service has in play.

    Ctrl-C ends the play early. Exit code 1 when chips differ or a call did not end as it must, 2 when the
    service cannot be reached.
    """
    _check_mode(context, hands)
    found = find_target(Settings.from_environment(os.environ), target, token)
    seed = secrets.randbits(32) if seed is None else seed
    play = (
        _simulate(found, players or _PLAYERS, seconds, seed, concurrency)
        if hands is None
        else _play_hands(found, hands, players or _PLAYERS_OF_A_TABLE, tables, seed)
    )
    report = asyncio.run(play)
    if report is None:
        click.echo(f"balance simulate: no service answers on {found.grpc} (balance up starts one)", err=True)
        sys.exit(_UNREACHABLE)
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        _print(report)
    for problem in report.tally.problems:
        click.echo(problem, err=True)
    sys.exit(0 if report.good else 1)


def _check_mode(context: click.Context, hands: int | None) -> None:
    """Refuse what belongs to the other way of playing instead of ignoring it."""
    foreign = ("tables",) if hands is None else ("seconds", "concurrency")
    for name in foreign:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} goes {'with' if hands is None else 'without'} --hands")


async def _play_hands(target: Target, hands: int, players: int, tables: int, seed: int) -> Report | None:
    """Connect and play; None when the service cannot be reached."""
    from app.cli.simulation.evening import CountingClient, Evening
    from app.cli.simulation.hands import FEWEST_SEATS, MOST_SEATS

    if not FEWEST_SEATS <= players <= MOST_SEATS:
        raise click.UsageError(f"a table has {FEWEST_SEATS} to {MOST_SEATS} players")
    async with _channel(target) as channel:
        if channel is None:
            return None
    tally = Tally()
    async with CountingClient(target, tally) as client:
        evening = Evening(client, tally, hands=hands, players=players, tables=tables, seed=seed)
        with _stopped_by_ctrl_c(evening.stop), _progress(tally, hands, lambda: evening.score.hands):
            return await evening.run()


async def _simulate(
    target: Target, players: int, seconds: float, seed: int, concurrency: int
) -> Report | None:
    """Connect and run; None when the service cannot be reached."""
    async with _channel(target) as channel:
        if channel is None:
            return None
        tally = Tally()
        caller = Caller(channel, tally, concurrency, target.token)
        simulation = Simulation(caller, tally, players=players, seed=seed)
        began = time.monotonic()
        with (
            _stopped_by_ctrl_c(simulation.stop),
            _progress(tally, seconds, lambda: time.monotonic() - began),
        ):
            return await simulation.run(seconds)


@asynccontextmanager
async def _channel(target: Target) -> AsyncIterator[grpc.aio.Channel | None]:
    """A line to the service; None when it cannot be reached."""
    async with aio_channel(target.grpc, target.tls, _OPTIONS) as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), _CONNECT_SECONDS)
        except TimeoutError:
            yield None
        else:
            yield channel


@contextmanager
def _stopped_by_ctrl_c(end: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C end the play, the second one the program."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        end()

    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def _progress(tally: Tally, total: float, done: Callable[[], float]) -> Iterator[None]:
    """Show how far the play is, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[calls]:,} calls"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("Playing", total=total, calls=0)

        async def show() -> None:
            while True:
                await asyncio.sleep(_REFRESH_SECONDS)
                progress.update(bar, completed=done(), calls=tally.calls)

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()


def _print(report: Report) -> None:
    tally = report.tally
    table = Table("Method", "Outcome", title=report.title)
    table.add_column("Calls", justify="right")
    for method in sorted(tally.outcomes):
        for outcome, calls in sorted(tally.outcomes[method].items()):
            table.add_row(method, outcome, f"{calls:,}")
    Console().print(table)
    for line in report.summary():
        click.echo(line)
