"""What is kept of commands that nobody waits for: where their states are, and what the states say.

A state is written in the very commit that answers its command, so it is never ahead of it and never behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from app.domain.commands import Command
from app.domain.ledger import VERSION_FIELD
from app.domain.outcomes import Answer, Outcome


class Track(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """Where the state of a command is kept: as a line of a batch, else under the command's own id."""

    batch_id: str = ""
    line: int = 0


OWN = Track()
"""Of a command that is kept under its own id."""


class Tracked(NamedTuple):
    """A command that is to be queued, and where its state is kept."""

    command: Command
    key: str
    command_id: str
    track: Track


class Seal(Protocol):
    """Makes the message that carries such commands of one partition to its worker."""

    def __call__(self, tracked: Sequence[Tracked], message_id: str) -> str:
        """The message, encoded."""
        ...


class ItemFailure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """Why a line of a batch was not paid, and the line itself: it can be submitted again as it stands here.

    `dead_letter_id` is "" unless it is parked.
    """

    code: str
    dead_letter_id: str = ""
    account_id: str = ""
    amount: int = 0
    type: str = ""
    reason: str = ""
    key: str = ""


@dataclass(slots=True, frozen=True)
class Settled:
    """An answer whose state is to be kept. `replayed` when the key had its outcome from another command.

    `failure` is there for a line of a batch that was not paid.
    """

    partition: int
    command_id: str
    track: Track
    answer: Answer
    replayed: bool
    failure: ItemFailure | None = None


class Status(StrEnum):
    """Where a command, or a line of a batch, is. The last four are of lines."""

    QUEUED = "queued"
    DONE = "done"
    PARKED = "parked"
    APPLIED = "applied"
    REPLAYED = "replayed"
    REFUSED = "refused"


class Intent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was submitted: kept with its state from before the answer to the submission. Time in ms."""

    v: int = VERSION_FIELD
    kind: str
    aggregate_id: str
    fingerprint: str
    submitted_at: int = 0
    submitted_by: str = ""


class Done(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a command ended, and when (ms since the epoch)."""

    v: int = VERSION_FIELD
    answer: Answer
    at: int


class CommandState(msgspec.Struct, frozen=True, kw_only=True):
    """A submitted command as it stands. A parked one names its dead letter; a done one has its answer."""

    command_id: str
    intent: Intent
    done: Done | None = None
    dead_letter_id: str = ""

    @property
    def status(self) -> Status:
        """What was parked and replayed since is done."""
        if self.done is not None:
            return Status.DONE
        return Status.PARKED if self.dead_letter_id else Status.QUEUED

    def may_come_again(self, intent: Intent) -> bool:
        """True for the same command where this one ended with a refusal that does not stick to its key."""
        if self.done is None or self.dead_letter_id or self.intent.fingerprint != intent.fingerprint:
            return False
        outcome = self.done.answer.outcome
        return not (outcome.sticks or outcome in {Outcome.OK, Outcome.IDEMPOTENCY_KEY_REUSED})
