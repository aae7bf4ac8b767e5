"""What a simulation has seen so far: calls by method and outcome, their times, and what went wrong."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

_PROBLEMS_KEPT = 10


@dataclass(slots=True)
class Tally:
    """The counts of one run; `milliseconds` has the time of each call, with its repetitions.

    `errors` counts everything that was not as expected; the first ten are told in `problems`.
    """

    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    milliseconds: list[float] = field(default_factory=list)
    retries: int = 0
    errors: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """How many calls have ended, in whichever way."""
        return len(self.milliseconds)

    def called(self, method: str, outcome: str, milliseconds: float) -> None:
        """Count a call that has ended."""
        self.outcomes[method][outcome] += 1
        self.milliseconds.append(milliseconds)

    def wrong(self, problem: str) -> None:
        """Count something that was not as expected."""
        self.errors += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(problem)

    def percentile(self, share: float) -> float:
        """The time (ms) within which this share of the calls ended; 0 where there was none."""
        ordered = sorted(self.milliseconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
