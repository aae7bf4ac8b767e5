"""Logs: one structured line per event on standard output; JSON, or readable on a terminal. Never a secret.

Under `balance up` that is standard error: there standard output carries what the command answers.
"""

import logging
import re
import sys
from collections.abc import Sequence

import structlog
from structlog.typing import EventDict, Processor

from app.telemetry.account_ids import AccountPolicy, shown

TOLD = ("request_id", "command_id", "partition", "account")
"""What a line may say beside its text, where it is about one request or command."""


def configure_logs(level: str, process: str, accounts: AccountPolicy = "plain") -> None:
    """Set up the process's logging: every record, ours and the libraries', in one form."""
    readable = sys.stdout.isatty()
    renderer: Processor = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()

    def name_process(_: object, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    def hide_account(_: object, __: str, event: EventDict) -> EventDict:
        return _hidden(event, accounts)

    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(TOLD),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_account,
        name_process,
    ]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _quieten(("dramatiq", "workers.actors"), logging.WARNING)  # they print messages whole, bodies included
    _quieten(("urllib3", "opentelemetry"), logging.ERROR)  # a line for each span that finds no room


def _quieten(loggers: Sequence[str], least: int) -> None:
    for name in loggers:
        logging.getLogger(name).setLevel(max(least, logging.getLogger().level))


def _hidden(event: EventDict, accounts: AccountPolicy) -> EventDict:
    """The event with its account as the policy wants it, in its text and in what an error said too."""
    account = str(event.pop("account", ""))
    if not account:
        return event
    if accounts != "plain":
        told = shown(account, accounts) or "(an account)"
        found = re.compile(rf"(?<![A-Za-z0-9]){re.escape(account)}(?![A-Za-z0-9])")
        event = {
            name: found.sub(told, value) if isinstance(value, str) else value for name, value in event.items()
        }
    if showing := shown(account, accounts):
        event["account"] = showing
    return event
