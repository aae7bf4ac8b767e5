"""What processes log: JSON on standard output that says which command, and whose as far as is allowed."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.support.workers import ROOT

ACCOUNT = "canary-player"
SCRIPT = """
import logging, sys
from app.telemetry.logs import configure_logs
from app.services.work import Delivery, Work
from app.domain.commands import Deposit
from app.domain.requests import Request

configure_logs("info", "worker", sys.argv[1])
request = Request(Deposit(account_id="canary-player", amount=5), partition=3, command_id="f-1-0")
work = Work(raw="", request=request, request_id="r-1")
Delivery(partition=3, epoch=1, lane="bulk", entry_id="1-0", message_id="m", reply_to="", works=[work])
try:
    raise ValueError("canary-player cannot be read")
except ValueError as error:
    logging.getLogger("app").exception("account %s: %s", "canary-player", error, extra=work.about)
logging.getLogger("dramatiq").info("a body")
logging.getLogger("app").info("nobody's")
"""


def logged(policy: str) -> list[dict[str, Any]]:
    """The lines of a process that meets a fault at a command."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, policy], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_says_which_command_it_is_about() -> None:
    """Ops find it by what is not prose; libraries that print bodies are not heard."""
    fault, other = logged("plain")
    wanted = {
        "process": "worker",
        "level": "error",
        "partition": 3,
        "command_id": "f-1-0",
        "request_id": "r-1",
        "account": ACCOUNT,
    }
    assert wanted.items() <= fault.items()
    assert fault["event"] == f"account {ACCOUNT}: {ACCOUNT} cannot be read"
    assert "ValueError" in fault["exception"]
    assert other["event"] == "nobody's"
    assert other.keys() == {"event", "level", "logger", "process", "timestamp"}


def test_hashed_accounts_can_be_told_from_each_other() -> None:
    """The id is nowhere, not in what an error said either; its hash is in every place of it."""
    fault = logged("hashed")[0]
    assert ACCOUNT not in str(fault)
    assert fault["account"].startswith("sha256:")
    assert fault["event"] == f"account {fault['account']}: {fault['account']} cannot be read"


def test_on_a_terminal_lines_are_for_people() -> None:
    """Colours and columns instead of JSON."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run([sys.executable, "-c", SCRIPT, "plain"], stdout=theirs, check=True, cwd=ROOT)
        shown = terminal.read(65_536).decode()
        os.close(theirs)
    assert "command_id" in shown
    assert "\x1b[" in shown
    assert not shown.startswith("{")


def test_accounts_can_be_left_out() -> None:
    """The command stays, so that it is found by whoever may see the dead letter."""
    fault = logged("off")[0]
    assert ACCOUNT not in str(fault)
    assert "account" not in fault
    assert fault["command_id"] == "f-1-0"
