"""What random loads hit, told at the end of a run: one line for each of them, whatever became of its parts.

Everything by chance in a test comes from `SOAK_SEED` and the test's name. It is chosen once for a run and
printed; the same `SOAK_SEED` makes the same seeds again.
"""

import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Protocol

SOAK_SEED = "SOAK_SEED"
_TOLD = "told"


class Tell(Protocol):
    """Tells what a load of that name hit. Parts are added up, of names ending in `ms` the highest counts."""

    def __call__(self, load: str, counts: Mapping[str, int]) -> None:
        """Once in each part."""
        ...


def choose_seed() -> str:
    """The seed of this run; the processes of a run that is shared among several inherit it."""
    return os.environ.setdefault(SOAK_SEED, str(secrets.randbits(32)))


def seed_of(test: str) -> int:
    """The seed of this test in this run."""
    return Random(f"{choose_seed()} {test}").getrandbits(48)


def told(load: str, counts: Mapping[str, int]) -> tuple[str, object]:
    """A property of a test's report."""
    return _TOLD, [load, dict(counts)]


def summary(parts: Iterable[tuple[bool, list[tuple[str, Any]]]]) -> list[str]:
    """The lines for the end, given of each part whether it passed and the properties of its report."""
    results: defaultdict[str, Counter[str]] = defaultdict(Counter)
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for passed, properties in parts:
        for load, counts in (value for name, value in properties if name == _TOLD):
            results[load]["passed" if passed else "FAILED"] += 1
            for name, count in counts.items():
                was = sums[load][name]
                sums[load][name] = max(was, count) if name.endswith("ms") else was + count
    return [f"{load}: {_listed(results[load])}; {_listed(sums[load])}" for load in sorted(results)]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
