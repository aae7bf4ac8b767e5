"""`balance simulate`: players play against a running service, and every chip is accounted for at the end."""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from app.cli.simulation.caller import Caller
from app.cli.simulation.run import Report, Simulation
from app.cli.simulation.tally import Tally
from app.cli.target import Target, find_target, target_options
from app.config import Settings
from app.rpc.tls import aio_channel

_UNREACHABLE = 2
_CONNECT_SECONDS = 3.0
_REFRESH_SECONDS = 0.25
# A front end that was started again is to be found before calls give up (see `caller`).
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


@click.command()
@click.option("--players", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=64, show_default=True)
@click.option("--seed", type=int, help="Have the players try what they tried in an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print one object on one line.")
@target_options
def simulate(
    *,
    players: int,
    seconds: float,
    seed: int | None,
    concurrency: int,
    as_json: bool,
    target: str | None,
    token: str | None,
) -> None:
    """Play poker against a running service and compare every balance.

    Players deposit, buy in, cash out and withdraw; they repeat requests, also at once, and provoke each
    refusal. At most CONCURRENCY calls are in flight; one that finds the service away is sent again, under
    its key. Ctrl-C ends the play early. Exit code 1 when chips differ or a call did not end as it must, 2
    when the service cannot be reached.
    """
    found = find_target(Settings.from_environment(os.environ), target, token)
    seed = secrets.randbits(32) if seed is None else seed
    report = asyncio.run(_simulate(found, players, seconds, seed, concurrency))
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


async def _simulate(
    target: Target, players: int, seconds: float, seed: int, concurrency: int
) -> Report | None:
    """Connect and run; None when the service cannot be reached."""
    async with aio_channel(target.grpc, target.tls, _OPTIONS) as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), _CONNECT_SECONDS)
        except TimeoutError:
            return None
        tally = Tally()
        caller = Caller(channel, tally, concurrency, target.token)
        simulation = Simulation(caller, tally, players=players, seed=seed)
        with _stopped_by_ctrl_c(simulation), _progress(tally, seconds):
            return await simulation.run(seconds)


@contextmanager
def _stopped_by_ctrl_c(simulation: Simulation) -> Iterator[None]:
    """Let the first Ctrl-C end the play, the second one the program."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        simulation.stop()

    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def _progress(tally: Tally, seconds: float) -> Iterator[None]:
    """Show how far the play is, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[calls]:,} calls"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("Playing", total=seconds, calls=0)

        async def show() -> None:
            while True:
                await asyncio.sleep(_REFRESH_SECONDS)
                progress.update(bar, advance=_REFRESH_SECONDS, calls=tally.calls)

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()


def _print(report: Report) -> None:
    tally = report.tally
    table = Table("Method", "Outcome", title=f"{report.players} players, seed {report.seed}")
    table.add_column("Calls", justify="right")
    for method in sorted(tally.outcomes):
        for outcome, calls in sorted(tally.outcomes[method].items()):
            table.add_row(method, outcome, f"{calls:,}")
    Console().print(table)
    click.echo(f"{tally.calls:,} calls in {report.seconds:.1f} s, {report.calls_per_second:,.0f} per second")
    click.echo(f"p50 {tally.percentile(0.50):.1f} ms, p99 {tally.percentile(0.99):.1f} ms")
    click.echo(f"{tally.retries:,} attempts made again, {tally.errors:,} errors")
    click.echo(f"chips expected {report.chips_expected:,}, found {report.chips_found:,}")
