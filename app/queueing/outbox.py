"""What a front end has for one partition: commands that wait to be sent, and messages on their way."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from app.domain.commands import Command
from app.domain.outcomes import Answer
from app.queueing import limits
from app.queueing.envelope import Origin
from app.queueing.room import Room


@dataclass(slots=True, eq=False)
class Ticket:
    """One command that waits: `deadline` is the loop's time in seconds.

    `stuck` behind what has gone unanswered for too long: it waits in the way of no other partition.
    """

    command: Command
    key: str
    origin: Origin
    deadline: float
    future: "asyncio.Future[Answer]"
    stuck: bool = False


@dataclass(slots=True)
class Sent:
    """A message on its way: whom to tell, when it went (the loop's time), the timer that frees its slot.

    One that is `lost` does not count any more as on its way; it may be answered all the same.
    """

    partition: int
    tickets: list[Ticket]
    at: float
    slot_timer: asyncio.TimerHandle | None = None
    lost: bool = False


@dataclass(slots=True)
class Outbox:
    """What one partition has waiting here, and how many messages on their way.

    `slot_taken` until the message last sent is answered, or has been away for too long: the partition is
    then `silent`, until it answers anything.
    """

    room: Room
    waiting: deque[Ticket] = field(default_factory=deque)
    on_their_way: int = 0
    slot_taken: bool = False
    silent: bool = False

    @property
    def may_send(self) -> bool:
        """True when the next message may go."""
        return not self.slot_taken and self.on_their_way < limits.MESSAGES_ON_THEIR_WAY

    @property
    def full(self) -> bool:
        """True while one more command would wait in vain, or in the way of others."""
        if self.silent:
            return self.room.crowded or self.room.stuck >= limits.WAITING_AT_LEAST
        return self.room.full

    def put(self, ticket: Ticket) -> None:
        """One more command waits."""
        self.waiting.append(ticket)
        self.room.enter()
        if self.silent:
            self._stick(ticket)

    def leave(self, ticket: Ticket, *, answered: bool) -> None:
        """It waits no more."""
        self.room.leave(answered=answered, stuck=ticket.stuck)
        ticket.stuck = False

    def fall_silent(self, sent: Sent) -> None:
        """Nothing came back for this message in time."""
        self.silent = True
        for ticket in (*sent.tickets, *self.waiting):
            if not ticket.future.done():
                self._stick(ticket)

    def speak(self) -> None:
        """Something came back: what waits to be sent is work again."""
        if self.silent:
            self.silent = False
            for ticket in self.waiting:
                self.room.stuck -= ticket.stuck
                ticket.stuck = False

    def _stick(self, ticket: Ticket) -> None:
        self.room.stuck += not ticket.stuck
        ticket.stuck = True
