"""What is wrong with an environment: every reason, not only the first."""

from collections.abc import Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """What is wrong with the values of these variables, and what is wanted instead."""

    variables: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{', '.join(self.variables)}: {self.text}"


class SettingsError(ValueError):
    """The environment cannot be used; `problems` holds every reason, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
