"""The bugs of mutants.toml, as records."""

import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Path(__file__).with_name("mutants.toml")


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bug: a sentence that says what it is, the edit that makes it, and the tests that must notice."""

    name: str
    bug: str
    file: str
    old: str
    new: str
    tests: list[str]

    def plant(self, original: str) -> str:
        """The text with the bug. Raises ValueError unless there is exactly one place for it."""
        if (places := original.count(self.old)) != 1:
            raise ValueError(f"{self.name}: its old text is found {places} times in {self.file}")
        return original.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """All of them, in the order of the file."""
    return msgspec.convert(tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))["mutant"], list[Mutant])
