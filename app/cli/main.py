"""The command `balance`: finds its subcommands by name and loads only the one that runs.

Must stay cheap to import: no module of the service belongs here.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class Lazy(NamedTuple):
    """Where a command is defined (`module:object`), and its line in the list of commands."""

    target: str
    summary: str


_COMMANDS: Mapping[str, Lazy] = {
    "up": Lazy("app.cli.up:up", "Run the whole service on this machine."),
    "grpc": Lazy("app.cli.serve:grpc", "Run one process of the gRPC front end."),
    "http": Lazy("app.cli.serve:http", "Run the HTTP front end."),
    "metrics": Lazy("app.cli.metrics:metrics", "Serve the metrics of all processes on one page."),
    "health": Lazy("app.cli.health:health", "Ask a process of this host how it is."),
    "call": Lazy("app.cli.call:call", "Call one gRPC method of a running service."),
    "token": Lazy("app.cli.token:token", "Sign a token for ops with the shared secret."),
    "status": Lazy("app.cli.operate:status", "Show who works, what waits, and whether chips add up."),
    "account": Lazy("app.cli.account:account", "Show accounts and their ledgers; freeze and unfreeze them."),
    "adjust": Lazy("app.cli.operate:adjust", "Correct a transaction by a new one."),
    "table": Lazy("app.cli.table:table", "Show what lies on a table; close it."),
    "pot": Lazy("app.cli.operate:pot", "Cancel the pot of a hand."),
    "house": Lazy("app.cli.operate:house", "Show what the rake has made."),
    "dead-letters": Lazy(
        "app.cli.dead_letters:dead_letters", "See, replay, resolve what a fault has parked."
    ),
    "pause": Lazy("app.cli.operate:pause", "Refuse new commands; the queue drains."),
    "resume": Lazy("app.cli.operate:resume", "Take commands again."),
    "stops": Lazy("app.cli.operate:stops", "Lift the stop of a kind of command that met too many faults."),
    "ops": Lazy("app.cli.operate:ops", "Show what ops did, and verify that log."),
    "payouts": Lazy("app.cli.payouts:payouts", "Pay many accounts at once, each line exactly once."),
    "simulate": Lazy("app.cli.simulate:simulate", "Play poker against a running service."),
    "backup": Lazy("app.cli.backup:backup", "Copy the whole store."),
    "restore": Lazy("app.cli.backup:restore", "Prove a backup, and put it in the place of a lost store."),
    "verify": Lazy("app.cli.verify:verify", "Prove that no chip was made or lost."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used; listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].target.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; say what is wrong with the environment without a stack trace."""
        from app.config import SettingsError

        try:
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo(f"the environment cannot be used:\n{error}", err=True)
            ctx.exit(2)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="balance-service", prog_name="balance")
def main() -> None:
    """Balance service: owns the chips of a poker platform. Settings come from the environment."""
