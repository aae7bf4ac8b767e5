"""Dead letters: commands that a fault has parked, and what becomes of them in the hands of ops.

Pure: each step gives the letter as it is after it. A letter never disappears by itself; it is closed by a
replay that gave the command its outcome, or by ops.
"""

import msgspec
from msgspec.structs import replace

from app.domain.ledger import VERSION_FIELD
from app.domain.outcomes import Answer

REPLAYED = "REPLAYED"
RESOLVED = "RESOLVED"
REISSUED = "REISSUED"
FAULT = "FAULT"
"""The outcome of a replay that met a fault again."""
MOST_REPLAYS_KEPT = 20
"""Replays told in a letter, the last ones; the ops log has them all."""


class Replay(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One replay: who asked for it, when, why, and how it ended. Times in ms since the epoch."""

    number: int
    by: str
    reason: str
    at: int
    outcome: str = ""
    error: str = ""
    ended_at: int = 0


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A command that is parked until ops look at it. Times in ms since the epoch, `amount` in chips.

    `replaying` is the number of the replay that waits in the queue, 0 when none does: only that one may run.
    `closed` says how it ended, "" while it is parked; `new_key` under which key it was issued anew.
    """

    v: int = VERSION_FIELD
    dead_letter_id: str
    partition: int
    lane: str
    entry_id: str
    raw: str
    error: str
    attempts: int
    arrived_at: int
    parked_at: int
    kind: str = ""
    key: str = ""
    command_id: str = ""
    account_id: str = ""
    table_id: str = ""
    reservation_id: str = ""
    amount: int = 0
    trace: str = ""
    replaying: int = 0
    replays: tuple[Replay, ...] = ()
    closed: str = ""
    closed_at: int = 0
    closed_by: str = ""
    closed_reason: str = ""
    new_key: str = ""
    answer: Answer | None = None

    @property
    def last_replay(self) -> int:
        """The number of the last replay that was asked for, 0 before the first."""
        return self.replays[-1].number if self.replays else 0

    def replayed(self, by: str, reason: str, now: int) -> "DeadLetter":
        """The letter with one more replay asked for; an earlier one that still waits may not run any more."""
        replay = Replay(number=self.last_replay + 1, by=by, reason=reason, at=now)
        kept = (*self.replays, replay)[-MOST_REPLAYS_KEPT:]
        return replace(self, replaying=replay.number, replays=kept)

    def answered(self, answer: Answer, now: int) -> "DeadLetter":
        """The letter after its replay has run: closed when that was the command's outcome.

        A refusal that is not the caller's own (a frozen account, say) leaves it parked: ops may try again.
        """
        letter = self._ended(answer.outcome.value, "", now)
        if not (answer.ok or answer.outcome.sticks):
            return letter
        asked = self.replays[-1]
        return replace(
            letter,
            closed=REPLAYED,
            closed_at=now,
            closed_by=asked.by,
            closed_reason=asked.reason,
            answer=answer,
        )

    def parked_again(self, error: str, attempts: int, now: int) -> "DeadLetter":
        """The letter after its replay has met a fault: the same letter, parked as it was."""
        letter = self._ended(FAULT, error, now)
        return replace(letter, error=error, attempts=self.attempts + attempts)

    def ended(self, how: str, by: str, reason: str, now: int, *, new_key: str = "") -> "DeadLetter":
        """The letter closed by ops; a replay that still waits may not run any more."""
        return replace(
            self, replaying=0, closed=how, closed_at=now, closed_by=by, closed_reason=reason, new_key=new_key
        )

    def _ended(self, outcome: str, error: str, now: int) -> "DeadLetter":
        last = replace(self.replays[-1], outcome=outcome, error=error, ended_at=now)
        return replace(self, replaying=0, replays=(*self.replays[:-1], last))


def partition_of_letter(dead_letter_id: str) -> int | None:
    """The partition that a dead letter's id names, None when it is no such id."""
    number, _, rest = dead_letter_id.partition("-")
    return int(number) if len(number) == 3 and number.isdecimal() and number.isascii() and rest else None  # noqa: PLR2004
