"""A worker in which a deposit to certain accounts does something to its process.

python -m tests.support.odd_worker ACCOUNT... ends itself on a deposit to one of the accounts. With `--freeze`
it stops itself instead, once, between loading and committing, until SIGCONT. With `--raise` its code is
broken: each of these deposits is a fault. With `--slow` each of them takes its time, and a unit is stuck when
it stands still for as long as five of them take.
"""

import os
import signal
import sys
import threading
import time

from app.domain import decide as deciding
from app.domain.commands import Deposit
from app.domain.rules import accounts
from app.domain.rules.case import Case
from app.domain.state import Decision
from app.queueing import ownership
from workers.main import main

FREEZE, RAISE, SLOW = "--freeze", "--raise", "--slow"
SLOW_SECONDS = 0.3


def make_odd(account_ids: set[str], how: str = "") -> None:
    """Put another rule in the place of the deposit's."""
    frozen = False

    def deposit(case: Case, command: Deposit) -> Decision:
        nonlocal frozen
        if command.account_id in account_ids and how == RAISE:
            raise ZeroDivisionError("canary")
        if command.account_id in account_ids and how == SLOW:
            time.sleep(SLOW_SECONDS)
            return accounts.deposit(case, command)
        if command.account_id in account_ids and how != FREEZE:
            os._exit(9)
        if command.account_id in account_ids and not frozen:
            frozen = True
            # To this very thread: sent to the process, it would run on until another thread has stopped it.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return accounts.deposit(case, command)

    deciding._RULES[Deposit] = deposit
    if how == SLOW:
        ownership.UNIT_SECONDS = 5 * SLOW_SECONDS  # type: ignore[attr-defined]


if __name__ == "__main__":
    options = {name for name in sys.argv[1:] if name.startswith("--")}
    make_odd(set(sys.argv[1:]) - options, *options)
    sys.exit(main())
