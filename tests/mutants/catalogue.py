"""The bugs of the catalogues beside this file (one for each part of the service), as records."""

import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = sorted(Path(__file__).parent.glob("*.toml"))


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
    """All of them, in the order of the files."""
    rows = [row for path in CATALOGUES for row in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]]
    return msgspec.convert(rows, list[Mutant])
