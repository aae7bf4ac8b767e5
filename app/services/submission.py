"""The port through which front ends have commands carried out."""

from typing import Protocol

from app.domain.commands import Command
from app.domain.outcomes import Answer

DEFAULT_TIMEOUT_MS = 5_000
"""How long a call without a deadline waits (CONTRACT 1)."""


class CommandBus(Protocol):
    """Takes well-formed commands to the owner of their partition and waits for the answer."""

    async def execute(
        self,
        command: Command,
        *,
        key: str = "",
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        trace: str = "",
        by_ops: bool = False,
    ) -> Answer:
        """The command's answer. Those of ops are taken while the service is paused, too.

        There is no await between the call and the append to the partition's batch: the order of calls is
        the order of application. Raises Unavailable or Overloaded (certainly not queued), DeadlinePassed
        (outcome unknown). A reservation id that cannot be read is answered RESERVATION_NOT_FOUND at once.
        """
        ...

    def admit(self) -> None:
        """Raises Unavailable, Paused or Overloaded while nothing may be queued, by whomever."""
        ...

    @property
    def paused(self) -> bool:
        """True while ops have paused the service: new commands are refused."""
        ...
