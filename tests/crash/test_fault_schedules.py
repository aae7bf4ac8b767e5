"""Evenings by chance: workers and steps interleaved, several faults, kills and freezes; then all promises.

A seed that fails is printed as a line for found_seeds.txt; what it has found belongs behind it.
"""

from collections import Counter
from pathlib import Path

import pytest

from app.domain import commands
from app.domain.commands import Command
from tests.support.faults import Fault, Kind, possible
from tests.support.playing_fields import Field, TwinField
from tests.support.schedules import Evening, play
from tests.support.telling import Tell

FOUND = Path(__file__).with_name("found_seeds.txt")
SOAK = [pytest.mark.soak, pytest.mark.timeout(1_200)]
MOST_PARKED_PER_CENT = 2  # workers that are killed thrice beside one command
SHARE_MEANS_SOMETHING = 500

# What so many schedules must have met: these steps break often enough for each of their faults to be sure.
SURE = {
    (kind, fault)
    for kind in (Kind("execution", "commit"), Kind("ownership", "acquire"), Kind("front end", "append"))
    for fault in possible(kind)
}
ASKED = set(commands.KINDS.values()) - {commands.PayTogether}  # which only jobs ask for


class Reach:
    """How far schedules reached: the steps that were made, the faults they met, the commands answered OK."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.steps: Counter[Kind] = Counter()
        self.faults: Counter[tuple[Kind, Fault]] = Counter()
        self.commands: Counter[type[Command]] = Counter()

    def add(self, evening: Evening) -> None:
        self.steps.update(evening.steps)
        self.faults.update(evening.faults)
        self.commands.update(type(ask.command) for ask, answer in evening.answers if answer.ok)
        self.counts.update(
            schedules=1,
            steps=evening.steps.total(),
            faults=evening.faults.total(),
            deaths=evening.deaths,
            parked=evening.parked,
            answers=len(evening.answers),
            paid_together=evening.paid_together,
        )
        for (_, fault), times in evening.faults.items():
            self.counts[fault.value] += times


def batches(field: str, schedules: int, tests: int, *marks: pytest.MarkDecorator) -> list[object]:
    """As many tests, which share the schedules: the same ones each time, but new ones in a soak."""
    return [
        pytest.param(
            field,
            schedules // tests,
            None if marks else number * schedules,
            id=f"{field}-{schedules}-{number}",
            marks=marks,
        )
        for number in range(1, tests + 1)
    ]


@pytest.mark.parametrize(
    ("field", "schedules", "first"),
    [
        *batches("twin", 950, 19),
        *batches("server", 50, 2),
        *batches("server", 5_000, 10, *SOAK),
        *batches("twin", 95_000, 95, *SOAK),
    ],
    indirect=["field"],
)
def test_no_course_of_events_breaks_a_promise(
    field: Field, schedules: int, first: int | None, seed: int, tell: Tell
) -> None:
    """Given some seeds. If their evenings are played. Expect nothing to be wrong afterwards.

    Many of them must also have reached what there is to reach.
    """
    first = seed if first is None else first
    reach = Reach()
    try:
        for each in range(first, first + schedules):
            reach.add(prove(each, field))
    finally:
        tell(f"schedules of faults on the {type(field).__name__}", reach.counts)
    if schedules >= SHARE_MEANS_SOMETHING:
        assert reach.counts["parked"] * 100 <= schedules * MOST_PARKED_PER_CENT, (
            "commands are parked too easily"
        )
        assert reach.faults.keys() >= SURE, f"never met: {SURE - reach.faults.keys()}"
        assert reach.commands.keys() == ASKED
        assert reach.counts["paid_together"] > 0


def test_what_was_found_once_does_not_come_back() -> None:
    """Given the seeds that have failed once. If their evenings are played. Expect nothing to be wrong."""
    for line in FOUND.read_text().splitlines():
        if not line.startswith("#"):
            prove(int(line.split()[0]), TwinField())


def test_a_seed_makes_the_same_evening_again() -> None:
    """What a seed has found can be looked at as often as it takes."""
    evenings = [play(seed, TwinField()) for seed in (7, 7, 8)]
    assert evenings[0] == evenings[1]
    assert evenings[0] != evenings[2]


def prove(seed: int, field: Field) -> Evening:
    """Play the evening of a seed; whatever is wrong with it fails, with a line for those that were found."""
    try:
        evening = play(seed, field)
        assert evening.problems == []
    except BaseException as failure:
        failure.add_note(f"for {FOUND.name}:\n{seed} (on the {type(field).__name__})")
        raise
    return evening
