"""AuditBroker: Dramatiq on the queue of audit tasks, which all auditors share.

A task leaves the queue when it is done. When the store is away, or the auditor dies, it is for the queue to
give it to somebody else.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import dramatiq
import msgspec
from dramatiq import Broker, Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import QueueNotFound
from dramatiq.middleware import Middleware

from app.queueing.limits import BACKOFF_LAST_SECONDS, READ_BLOCK_MS, UNFIT_SECONDS
from app.services.audits import AuditQueue, AuditTask
from app.services.faults import BalanceFault, StoreUnfit

AUDIT_QUEUE_NAME = "balance-audit"
AUDIT_ACTOR_NAME = "audit"

_log = logging.getLogger(__name__)


class AuditBroker(Broker):
    """A Dramatiq broker.

    `connect` makes one more connection to the queue; `check_store` is called before work begins and again
    whenever the store was out of sight, and raises StoreUnfit when it must not be worked with.
    """

    def __init__(
        self,
        connect: Callable[[], AuditQueue],
        check_store: Callable[[], None] = lambda: None,
        middleware: list[Middleware] | None = None,
    ) -> None:
        super().__init__(middleware=middleware or [])
        self._connect = connect
        self._check_store = check_store
        self._closing = threading.Event()
        self._left = threading.Event()

    def declare_queue(self, queue_name: str) -> None:
        """Declare the one queue this broker has; another name is refused."""
        if queue_name != AUDIT_QUEUE_NAME:
            raise QueueNotFound(queue_name)
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[None], *, delay: int | None = None) -> Message[None]:
        """Refused: only the scheduler queues audits, under its epoch."""
        raise ValueError("audits are queued by the scheduler")

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 200) -> Consumer:
        """A consumer of tasks, one at a time."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        desk = Desk(
            self._connect(), min(timeout, READ_BLOCK_MS), self._check_store, self._closing, self._left
        )
        return AuditConsumer(desk)

    def leave(self) -> None:
        """The task in hand could not be done: it stays in the queue, for whoever takes it next."""
        self._left.set()

    def close(self) -> None:
        """Take no task any more."""
        self._closing.set()


class Desk(NamedTuple):
    """What a consumer works with."""

    queue: AuditQueue
    block_ms: int
    check_store: Callable[[], None]
    closing: threading.Event
    left: threading.Event


class AuditConsumer(Consumer):
    """Takes one task after the other, when the one before is done. Its methods never raise."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._suspect = True
        self._slot = threading.Semaphore(1)

    def __next__(self) -> MessageProxy | None:
        """The next task, or None when there is none for now."""
        if not self._slot.acquire(timeout=self._desk.block_ms / 1000):
            return None
        message = None
        try:
            message = self._next_message()
        except StoreUnfit as unfit:
            _log.critical("ALARM %s", unfit)
            self._stay_away(UNFIT_SECONDS)
        except BalanceFault as fault:
            _log.warning("the queue of audits cannot be read: %s", fault)
            self._stay_away(BACKOFF_LAST_SECONDS)
        finally:
            if message is None:
                self._slot.release()
        return message

    def ack(self, message: MessageProxy) -> None:
        """The task is done: take it out of the queue, unless it is left there."""
        try:
            if self._desk.left.is_set():
                self._desk.left.clear()
                self._stay_away(BACKOFF_LAST_SECONDS)
            else:
                self._desk.queue.done(message.options["entry_id"])
        except BalanceFault as fault:
            _log.warning("a task that is done stays in its queue, and will be done again: %s", fault)
            self._stay_away(BACKOFF_LAST_SECONDS)
        finally:
            self._slot.release()

    def nack(self, message: MessageProxy) -> None:
        """The task met a fault of ours: the next interval brings the same."""
        self.ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """What was not begun when this auditor stopped is for another one."""
        try:
            for message in messages:
                self._desk.queue.give_back(message.options["entry_id"])
        except BalanceFault as fault:
            _log.warning("a task that was not begun waits until it counts as lost: %s", fault)

    def close(self) -> None:
        """Close the connection."""
        self._desk.queue.close()

    def _next_message(self) -> MessageProxy | None:
        if self._desk.closing.is_set():
            return None
        if self._suspect:
            self._desk.check_store()
            self._suspect = False
        entry = self._desk.queue.take(self._desk.block_ms)
        if entry is None:
            return None
        try:
            message: Message[Any] = Message.decode(entry.payload)
        except Exception:
            _log.exception("ALARM an audit task cannot be read, it is left out: %r", entry.payload[:200])
            self._desk.queue.done(entry.entry_id)
            return None
        return MessageProxy(message.copy(options={**message.options, "entry_id": entry.entry_id}))

    def _stay_away(self, seconds: float) -> None:
        self._suspect = True
        self._desk.closing.wait(seconds)


def encode_task(task: AuditTask, message_id: str) -> str:
    """The task as a Dramatiq message."""
    message: Message[None] = dramatiq.Message(
        queue_name=AUDIT_QUEUE_NAME,
        actor_name=AUDIT_ACTOR_NAME,
        args=(msgspec.to_builtins(task),),
        kwargs={},
        options={},
        message_id=message_id,
        message_timestamp=0,
    )
    return message.encode().decode()


def decode_task(task: dict[str, Any]) -> AuditTask:
    """The task of a message's argument; raises ValueError for one of another release."""
    found = msgspec.convert(task, AuditTask)
    if found.v != 1:
        raise ValueError(f"unknown version {found.v} of an audit task")
    return found
