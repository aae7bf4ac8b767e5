"""Work in hand: deliveries (queue messages) and the commands in them, until they are answered."""

from dataclasses import dataclass, field

from app.domain.outcomes import Answer
from app.domain.requests import Request
from app.services.tracking import Track

MAX_FAULTS = 2
"""How often a command is decided before a fault of ours parks it."""


@dataclass(slots=True, eq=False)
class Work:
    """One command of a delivery. `request` is None when it cannot be understood: `poison` says why.

    `raw` is what it came in, as text, for the dead letter; `faults` are the errors it met so far; `marked`
    while the store counts it as being tried alone. `admitted` when it has been counted as a fault. The call
    that brought it had this `trace` and `request_id`. Where `track` says so, the state of the command
    `command_id` is kept.
    """

    raw: str
    request: Request | None = None
    poison: str = ""
    answer: Answer | None = None
    marked: bool = False
    trace: str = ""
    request_id: str = ""
    track: Track | None = None
    command_id: str = ""
    admitted: bool = False
    faults: list[str] = field(default_factory=list)
    delivery: "Delivery" = field(init=False)
    index: int = field(init=False)

    @property
    def parking_reason(self) -> str:
        """Why the command is to be parked unrun, or "" while it may still be decided."""
        return self.poison or (self.faults[-1] if len(self.faults) >= MAX_FAULTS else "")

    @property
    def about(self) -> dict[str, object]:
        """What a log line about the command says beside its text."""
        about: dict[str, object] = {"partition": self.delivery.partition}
        if self.request is not None:
            about["command_id"] = self.request.command_id
            about["account"] = getattr(self.request.command, "account_id", "")
        if self.request_id:
            about["request_id"] = self.request_id
        return about

    @property
    def open(self) -> bool:
        """True while an answer is owed, and it is ours to give."""
        return self.answer is None and not (self.delivery.lost or self.delivery.held)

    def condemn(self, reason: str) -> None:
        """Have the command parked without another try."""
        self.faults += [reason] * MAX_FAULTS


@dataclass(slots=True, eq=False)
class Delivery:
    """One message of the queue as its partition's owner took it. Answered, and removed, as a whole.

    `arrived_at` is ms since the epoch (the stream entry's id), `not_before` the time of the partition's last
    commit under another owner. `careful` deliveries were found after an unclean takeover and run one command
    at a time; `lost` when the partition has another owner now; `held` ones stay in their queue, for a safety
    stop.
    """

    partition: int
    epoch: int
    lane: str
    entry_id: str
    message_id: str
    reply_to: str
    works: list[Work]
    arrived_at: int = 0
    not_before: int = 0
    careful: bool = False
    lost: bool = False
    held: bool = False

    def __post_init__(self) -> None:
        for index, work in enumerate(self.works):
            work.delivery, work.index = self, index

    @property
    def finished(self) -> bool:
        """True when every command has its answer."""
        return all(work.answer is not None for work in self.works)

    @property
    def answers(self) -> list[Answer]:
        """The answers, in the order of the commands."""
        return [work.answer for work in self.works if work.answer is not None]


@dataclass(slots=True)
class Unit:
    """What one worker takes in hand at once: whole deliveries, in the order of their queues.

    `abandoned` when the store went away: whatever is still in the queue is taken again from there.
    """

    deliveries: list[Delivery]
    abandoned: bool = False
