"""The safety stop: a worker in which too many commands of a kind are faults takes no more of that kind.

Broken code would fill the dead letters; what is left in its queue instead is carried out, in order, by the
code that comes next. A stop ends with its process, or when ops clear it.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Protocol

import msgspec
from msgspec.structs import replace

TEND_SECONDS = 1.0
"""How soon a worker sees that ops have taken its stop down."""


class Stop(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a worker takes no command of a kind: so many of the last `of` ones were faults; `at` is ms."""

    kind: str
    faults: int
    of: int
    error: str
    worker: str = ""
    at: int = 0


@dataclass(slots=True, frozen=True)
class Limits:
    """`most_faults` of the last `commands` of a kind are parked; one more stops the kind."""

    commands: int = 100
    most_faults: int = 20


class FaultWatch:
    """What one worker knows of the last commands of each kind; `stopped` are those it takes no more.

    The worker's thread counts and the consumer's clears: never at once, since one unit is in hand at a time.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._last: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=self._limits.commands))
        self._faults: dict[str, int] = defaultdict(int)
        self.stopped: dict[str, Stop] = {}

    def good(self, kind: str) -> None:
        """One more of that kind was decided."""
        self._note(kind, fault=False)

    def may_park(self, kind: str, error: str) -> bool:
        """Note a fault of that kind; False when that is one too many: it must not be parked, but left."""
        if kind in self.stopped:
            return False
        faults, never = self._faults[kind] + 1, self._limits.most_faults >= self._limits.commands
        if faults > self._limits.most_faults and not never:
            seen = min(len(self._last[kind]) + 1, self._limits.commands)
            self.stopped[kind] = Stop(kind=kind, faults=faults, of=seen, error=error)
            return False
        self._note(kind, fault=True)
        return True

    def clear(self, kind: str) -> None:
        """Take that kind again, and begin to count anew."""
        for known in (self._last, self._faults, self.stopped):
            known.pop(kind, None)

    def _note(self, kind: str, *, fault: bool) -> None:
        last = self._last[kind]
        if len(last) == self._limits.commands:
            self._faults[kind] -= last[0]
        last.append(fault)
        self._faults[kind] += fault


class StopBoard(Protocol):
    """Where workers post their stops, and ops take them down. Raises StoreUnavailable or StoreRefused."""

    def post(self, stops: list[Stop]) -> None:
        """Post these."""
        ...

    def posted(self, worker: str) -> set[str]:
        """The kinds that this worker has posted and nobody has taken down."""
        ...


class StopKeeper:
    """Posts the stops of one worker, and lifts those that ops have taken down. For the consumer's thread."""

    def __init__(self, watch: FaultWatch, board: StopBoard, worker: str) -> None:
        self._watch = watch
        self._board = board
        self._worker = worker
        self._posted: set[str] = set()
        self._looked_at = 0.0

    def tend(self, now: float) -> None:
        """Look, at most once a second (`now` in seconds), while something is stopped."""
        new = self._watch.stopped.keys() - self._posted
        if new:
            self._board.post(
                [replace(self._watch.stopped[kind], worker=self._worker) for kind in sorted(new)]
            )
            self._posted |= new
        elif self._posted and now - self._looked_at >= TEND_SECONDS:
            self._looked_at = now
            for kind in self._posted - self._board.posted(self._worker):
                self._watch.clear(kind)
                self._posted.discard(kind)
