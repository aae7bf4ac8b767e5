"""The planted bugs of tests/mutants stay true: each has its one place in the code, and tests that exist."""

from collections import Counter

import pytest

from tests.mutants.catalogue import Mutant, mutants
from tests.tidy.tree import ROOT, text


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_bug_can_still_be_planted(mutant: Mutant) -> None:
    """Whoever changes the code it sits in rewrites the bug with it: without a place it proves nothing."""
    assert mutant.plant(text(mutant.file)) != text(mutant.file)


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_bug_names_tests_that_exist(mutant: Mutant) -> None:
    """A renamed test is found here in no time, and not at the end of a long run."""
    assert mutant.tests
    for test in mutant.tests:
        name, _, function = test.partition("::")
        assert (ROOT / name).is_file(), f"{mutant.name}: no file {name}"
        assert f"def {function}" in text(name), f"{mutant.name}: no test {test}"


def test_a_bug_has_a_name_of_its_own() -> None:
    """A bug is planted by its name."""
    twice = [name for name, count in Counter(mutant.name for mutant in mutants()).items() if count > 1]
    assert not twice
