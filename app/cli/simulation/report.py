"""What every simulation reports, whatever it played."""

from collections.abc import Iterator
from typing import Any, Protocol

from app.cli.simulation.tally import Tally


class Report(Protocol):
    """What a run came to, for people and for programs."""

    @property
    def tally(self) -> Tally:
        """Its calls, and what was wrong."""
        ...

    @property
    def good(self) -> bool:
        """True when every call ended as it must and no chip was made or lost."""
        ...

    @property
    def title(self) -> str:
        """Who played, in a few words."""
        ...

    def summary(self) -> Iterator[str]:
        """The figures, in lines of text."""
        ...

    def as_json(self) -> dict[str, Any]:
        """The figures under the names that programs read."""
        ...
