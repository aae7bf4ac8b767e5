"""What is aimed at, each aim with the figure that shows whether it is reached."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from ops.bench import scenarios
from ops.bench.cpu import STORE
from ops.bench.measuring import Found, Run
from ops.bench.scenarios import Row

Figure = Callable[[Found], float]


@dataclass(slots=True, frozen=True)
class Aim:
    """A figure and its limit, which is the least or the most it may be. `rows` are what it is made of."""

    text: str
    rows: tuple[Row, ...]
    figure: Figure
    limit: float
    unit: str = ""
    at_most: bool = False

    def told(self, found: Found) -> str:
        """The aim as a line of a Markdown table."""
        bound = f"{'at most' if self.at_most else 'at least'} {self.limit:g}{self.unit}"
        if not all(row in found for row in self.rows):
            return f"| {self.text} | {bound} | not measured | |"
        figure = self.figure(found)
        reached = figure <= self.limit if self.at_most else figure >= self.limit
        return f"| {self.text} | {bound} | {figure:.2f}{self.unit} | {'yes' if reached else 'no'} |"


def rate_ratio(found: Found, row: Row, base: Row) -> float:
    """How many calls a second for one of the base's; the median of the rounds, each against its own base."""
    return _ratio(found, row, base, lambda run: run.client.rate)


def cost_ratio(found: Found, row: Row, base: Row) -> float:
    """The CPU that store and worker use for a call, for one of the base's."""
    return _ratio(found, row, base, lambda run: run.cost)


def p50(found: Found, row: Row) -> float:
    """The median of the rounds' medians, in ms."""
    return median(run.client.p50 for run in found[row])


def _ratio(found: Found, row: Row, base: Row, of: Callable[[Run], float]) -> float:
    return median(of(run) / of(floor) for run, floor in zip(found[row], found[base], strict=True))


def _rate_aim(text: str, row: Row, base: Row, limit: float) -> Aim:
    return Aim(text, (row, base), lambda found: rate_ratio(found, row, base), limit)


def _cost_aim(text: str, row: Row, base: Row) -> Aim:
    return Aim(text, (row, base), lambda found: cost_ratio(found, row, base), 1.1, at_most=True)


def _p99_aim(text: str, row: Row, limit: float) -> Aim:
    figure: Figure = lambda found: median(run.client.p99 for run in found[row])  # noqa: E731
    return Aim(text, (row,), figure, limit, " ms", at_most=True)


AIMS = (
    _rate_aim("64 in flight, of the bare echo", scenarios.SPREAD_64, scenarios.ECHO_64, 0.45),
    _rate_aim("256 in flight, of the bare echo", scenarios.SPREAD_256, scenarios.ECHO_256, 0.6),
    _rate_aim("one hot account, of 1,000 accounts", scenarios.HOT_64, scenarios.SPREAD_64, 1.3),
    Aim(
        "hot account, calls/s: the last 10 s of 60 s, of the first",
        (scenarios.LASTING,),
        lambda found: found[scenarios.LASTING][-1].client.rate / found[scenarios.LASTING][0].client.rate,
        0.9,
    ),
    Aim(
        "hot account, CPU of a command: the last 10 s of 60 s, of the first",
        (scenarios.LASTING,),
        lambda found: found[scenarios.LASTING][-1].cost / found[scenarios.LASTING][0].cost,
        1.1,
        at_most=True,
    ),
    _cost_aim("CPU of a command, 1,000,000 accounts of 1,000", scenarios.MILLION, scenarios.THOUSAND),
    _cost_aim("CPU of a command, 1,000,000 entries of a fresh account", scenarios.DEEP, scenarios.SHALLOW),
    _cost_aim("CPU of a command, 10,000 EXPIRED holds of none", scenarios.ENDED_HOLDS, scenarios.NO_HOLDS),
    Aim(
        "1 in flight, p50",
        (scenarios.SINGLE,),
        lambda found: p50(found, scenarios.SINGLE),
        2.2,
        " ms",
        at_most=True,
    ),
    Aim(
        "idle p50, of 1 in flight",
        (scenarios.IDLE, scenarios.SINGLE),
        lambda found: p50(found, scenarios.IDLE) / p50(found, scenarios.SINGLE),
        1.2,
        at_most=True,
    ),
    _p99_aim("open loop at 500/s, p99", scenarios.OPEN_500, 15),
    _p99_aim("open loop at 2,000/s, p99", scenarios.OPEN_2000, 40),
    Aim(
        "CPU of the store, 64 in flight over 1,000 accounts",
        (scenarios.SPREAD_64,),
        lambda found: median(run.cpu.get(STORE, 0.0) for run in found[scenarios.SPREAD_64]),
        0.06,
        " ms",
        at_most=True,
    ),
)
