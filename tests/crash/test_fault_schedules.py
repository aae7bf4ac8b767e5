"""Evenings by chance: workers and steps interleaved, several faults, kills and freezes; then all promises.

A seed that fails is printed; it belongs into found_seeds.txt, with what it has found.
"""

import secrets
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.playing_fields import Field, TwinField
from tests.support.schedules import Evening, play

FOUND = Path(__file__).with_name("found_seeds.txt")
SOAK = [pytest.mark.soak, pytest.mark.timeout(1_200)]
MOST_PARKED_PER_CENT = 2  # workers that are killed thrice beside one command
SHARE_MEANS_SOMETHING = 500


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
        *batches("twin", 95_000, 95, *SOAK),
        *batches("server", 5_000, 10, *SOAK),
    ],
    indirect=["field"],
)
def test_no_course_of_events_breaks_a_promise(field: Field, schedules: int, first: int | None) -> None:
    """Given some seeds. If their evenings are played. Expect nothing to be wrong afterwards."""
    first = secrets.randbits(48) if first is None else first
    count: Counter[str] = Counter()
    for seed in range(first, first + schedules):
        evening = prove(seed, field)
        count.update(steps=evening.steps, faults=evening.faults, deaths=evening.deaths, parked=evening.parked)
    sys.stdout.write(f"{schedules} schedules from seed {first}: {dict(count)}\n")
    if schedules >= SHARE_MEANS_SOMETHING:
        assert count["parked"] * 100 <= schedules * MOST_PARKED_PER_CENT, "commands are parked too easily"


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
    """Play the evening of a seed; whatever is wrong with it fails, naming the seed."""
    try:
        evening = play(seed, field)
        assert evening.problems == []
    except BaseException as failure:
        failure.add_note(f"seed {seed} on the {type(field).__name__}")
        raise
    return evening
