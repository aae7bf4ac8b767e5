"""StreamsBroker: Dramatiq on one stream per partition and lane, owned by one worker at a time.

Nothing is delayed, retried or acknowledged here: a message leaves its stream in the commit that answers it.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable

import dramatiq
from dramatiq import Broker, Message
from dramatiq.broker import Consumer
from dramatiq.errors import QueueNotFound
from dramatiq.middleware import Middleware

from app.queueing.consumer import Desk, StreamsConsumer
from app.queueing.envelope import route_envelope
from app.queueing.limits import QUEUE_NAME
from app.queueing.ownership import Ownership
from app.services.queue import Lane, PartitionQueue
from app.services.stops import FaultWatch, StopBoard

_log = logging.getLogger(__name__)


class StreamsBroker(Broker):
    """A Dramatiq broker.

    `connect` makes one more connection to the queue; `check_store` is called before work begins and again
    whenever the store was out of sight, and raises StoreUnfit when money must not be handled there. Kinds of
    commands that the `watch` has stopped are not handed out; they are posted on the `board`.
    """

    def __init__(
        self,
        connect: Callable[[], PartitionQueue],
        *,
        partitions: int,
        check_store: Callable[[], None] = lambda: None,
        middleware: list[Middleware] | None = None,
        worker: str | None = None,
        watch: FaultWatch | None = None,
        board: StopBoard | None = None,
    ) -> None:
        super().__init__(middleware=middleware or [])
        self._connect = connect
        self._partitions = partitions
        self._check_store = check_store
        self._worker = worker or uuid.uuid4().hex
        self._watch = watch or FaultWatch()
        self._board = board
        self._lock = threading.Lock()
        self._desk: Desk | None = None
        self._producer: PartitionQueue | None = None

    def declare_queue(self, queue_name: str) -> None:
        """Declare the one queue this broker has; another name is refused."""
        if queue_name != QUEUE_NAME:
            raise QueueNotFound(queue_name)
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[None], *, delay: int | None = None) -> Message[None]:
        """Append the message to the stream of its commands' partition; option `lane` may say `bulk`.

        Raises ValueError when it is delayed or its commands belong to several partitions.
        """
        if delay is not None:
            raise ValueError("nothing is delayed on this broker")
        lane = Lane(message.options.get("lane", Lane.INTERACTIVE))
        payload = message.encode()
        stream = (route_message(message, self._partitions), lane)
        self.emit_before("enqueue", message, delay)
        with self._lock:
            self._producer = self._producer or self._connect()
            self._producer.append([(stream, payload.decode())])
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 200) -> Consumer:
        """A consumer of units of work; the first one begins to take partitions."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        with self._lock:
            if self._desk is None:
                self._check_store()
                ownership = Ownership(self._connect, self._partitions, self._worker)
                self._desk = Desk(
                    self._connect, ownership, self._partitions, self._check_store, self._watch, self._board
                )
                ownership.start()
        return StreamsConsumer(self._desk, queue_name, timeout)

    def forget(self, partitions: frozenset[int]) -> None:
        """A commit has told that these have another owner now."""
        if self._desk is not None and partitions:
            _log.warning("partitions lost to another owner, a commit was refused: %s", sorted(partitions))
            self._desk.ownership.forget(partitions)

    def progressed(self) -> None:
        """The unit in hand has got on: it is not stuck."""
        desk = self._desk
        if desk is not None:
            desk.ownership.working(since=time.monotonic())

    def close(self) -> None:
        """Hand all partitions over and close the connections."""
        with self._lock:
            desk, self._desk = self._desk, None
            producer, self._producer = self._producer, None
        if desk is not None:
            desk.closing.set()
            desk.ownership.stop()
            desk.queue.close()
        if producer is not None:
            producer.close()


def route_message(message: Message[None], partitions: int) -> int:
    """The one partition of all envelopes in a message; raises ValueError when there is no such."""
    encode = dramatiq.get_encoder().encode
    envelopes = message.args[0] if message.args else ()
    found = {route_envelope(encode(envelope), partitions) for envelope in envelopes}
    if len(found) != 1 or None in found:
        raise ValueError("the commands of one message must belong to one partition")
    return next(partition for partition in found if partition is not None)
