"""A poker service of one seat, in a process of its own that is killed at a given moment.

`python -m tests.support.poker_service KIND TARGET FOLDER DEED DIE_AT PLAN`, where FOLDER is what it keeps
across its deaths, and PLAN the JSON of a Join or Leave. Prints what came of it.
"""

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.client import Join, Leave
from tests.support.clients import cashier_of, client_of

NEVER = "never"
BEFORE_SEAT, AFTER_SEAT, AFTER_BUY_IN = "before the seat", "after the seat", "after the buy-in"
BEFORE_CLEARING, AFTER_CLEARING = "before the clearing", "after the clearing"


class Seat:
    """The one seat: a file that names the join it belongs to, written in one go."""

    def __init__(self, folder: Path, die_at: str) -> None:
        self._file = folder / "seat"
        self._die_at = die_at

    @property
    def taken_by(self) -> str | None:
        return self._file.read_text() if self._file.exists() else None

    def die(self, moment: str) -> None:
        if moment == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def take(self, join_id: str) -> bool:
        self.die(BEFORE_SEAT)
        if self.taken_by is None:
            self._file.write_text(join_id)
        self.die(AFTER_SEAT)
        return self.taken_by == join_id

    def clear(self) -> None:
        self.die(BEFORE_CLEARING)
        self._file.unlink(missing_ok=True)
        self.die(AFTER_CLEARING)


def join(cashier: Any, seat: Seat, plan: dict[str, Any]) -> Any:
    bought = cashier.join_seat(Join(**plan), lambda: seat.take(plan["join_id"]), seat.clear)
    seat.die(AFTER_BUY_IN)
    return bought


def leave(cashier: Any, seat: Seat, plan: dict[str, Any]) -> Any:
    return cashier.leave_seat(Leave(**plan), seat.clear)


def main(kind: str, target: str, folder: str, deed: str, die_at: str, plan: str) -> None:
    seat = Seat(Path(folder), die_at)
    with client_of(kind, target) as client:
        done = {"join": join, "leave": leave}[deed](cashier_of(client), seat, json.loads(plan))
    print(json.dumps(asdict(done)))  # noqa: T201 - its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
