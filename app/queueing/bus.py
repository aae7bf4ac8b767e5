"""The command bus of a front end: takes commands to their partitions' queues and waits for the answers.

Batches pace themselves: one message per partition is on its way, and what arrives meanwhile forms the next.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import count
from typing import Any

import msgspec

from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.queueing import limits
from app.queueing.envelope import Origin, encode_message, route, seal
from app.queueing.outbox import Outbox, Sent, Ticket
from app.queueing.room import Room
from app.services.faults import (
    BalanceFault,
    DeadlinePassed,
    Overloaded,
    Paused,
    StoreUnavailable,
    Unavailable,
)
from app.services.queue import CommandLog, Entry, Lane
from app.services.request_ids import REQUEST_ID
from app.services.submission import DEFAULT_TIMEOUT_MS

_decode_answers = msgspec.json.Decoder(list[tuple[str, list[Answer]]]).decode
_decode_unread = msgspec.json.Decoder(list[tuple[str, list[msgspec.Raw]]]).decode
_decode_answer = msgspec.json.Decoder(Answer).decode
_START = "0-0"
_log = logging.getLogger(__name__)


_Batch = tuple[str, Sent]


class Bus:
    """Implements `app.services.submission.CommandBus`. Made at start-up of a process, never at import.

    `replied` is told the trace of each answered command that has one, and when the answer was written (ms).
    """

    def __init__(
        self,
        log: CommandLog,
        *,
        partitions: int,
        max_waiting: int,
        replied: Callable[[str, int], None] | None = None,
    ) -> None:
        self._command_log = log
        self._replied = replied
        self._partitions = partitions
        self._room = Room(max_waiting)
        self._front_end = secrets.token_hex(8)
        self._message_numbers = count(1)
        self._outboxes = [Outbox(self._room) for _ in range(partitions)]
        self._ready: set[int] = set()
        self._sent: dict[str, Sent] = {}
        self._wake = asyncio.Event()
        self._available = False
        self._looked = asyncio.Event()
        self._away_because = ""
        self._has_room = True
        self._paused = False
        self._watched = asyncio.Event()
        self._cursor = _START
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to send and to listen."""
        self._tasks = [asyncio.create_task(_keep(run)) for run in (self._send, self._listen, self._watch)]

    async def looked(self) -> None:
        """Wait until it is known whether the store can be reached, and whether the service is paused."""
        await self._looked.wait()
        await self._watched.wait()

    async def close(self) -> None:
        """Stop; whoever still waits is told that the outcome is unknown."""
        await _cancel(self._tasks)
        for sent in self._sent.values():
            _fail(sent.tickets, DeadlinePassed("the front end stops"))
        self._fail_waiting("the front end stops")

    @property
    def available(self) -> bool:
        """True while the store can be reached."""
        return self._available

    @property
    def paused(self) -> bool:
        """See CommandBus."""
        return self._paused

    def admit(self, *, by_ops: bool = False) -> None:
        """See CommandBus."""
        if not self._available:
            raise Unavailable("the store cannot be reached")
        if self._paused and not by_ops:
            raise Paused("the service is paused")
        if not self._has_room:
            raise Overloaded("the store's memory is nearly full")

    async def execute(
        self,
        command: Command,
        *,
        key: str = "",
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        trace: str = "",
        by_ops: bool = False,
    ) -> Answer:
        """See CommandBus."""
        partition = route(command, self._partitions)
        if partition is None:
            return Answer(outcome=Outcome.RESERVATION_NOT_FOUND)
        self.admit(by_ops=by_ops)
        outbox = self._outboxes[partition]
        if outbox.full:
            raise Overloaded("too much work is waiting")
        future: asyncio.Future[Answer] = self._loop.create_future()
        deadline = self._loop.time() + timeout_ms / 1000
        ticket = Ticket(command, key, Origin(trace, REQUEST_ID.get()), deadline, future)
        outbox.put(ticket)
        self._offer(partition)
        timer = self._loop.call_at(deadline, _expire, future)
        answer = None
        try:
            answer = await future
        finally:
            timer.cancel()
            outbox.leave(ticket, answered=answer is not None)
        if answer.outcome is Outcome.DROPPED:
            raise DeadlinePassed("the command's deadline passed while it was queued; it was not applied")
        return answer

    def _offer(self, partition: int) -> None:
        """Have the partition's next message sent, if it may have one on its way now."""
        if self._outboxes[partition].may_send:
            self._ready.add(partition)
            self._wake.set()

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            ready, self._ready = self._ready, set()
            batches = [batch for partition in ready if (batch := self._batch(partition))]
            if batches:
                await self._append(batches)

    def _batch(self, partition: int) -> _Batch | None:
        """The next message of a partition: what waits there and still has time."""
        outbox = self._outboxes[partition]
        tickets: list[Ticket] = []
        while outbox.may_send and outbox.waiting and len(tickets) < limits.MESSAGE_COMMANDS:
            ticket = outbox.waiting.popleft()
            if not ticket.future.done():
                tickets.append(ticket)
        if not tickets:
            return None
        message_id = f"{self._front_end}-{next(self._message_numbers)}"
        sent = self._sent[message_id] = Sent(partition, tickets, self._loop.time())
        sent.slot_timer = self._loop.call_later(limits.SLOT_SECONDS, self._miss, sent)
        outbox.on_their_way += 1
        outbox.slot_taken = True
        return message_id, sent

    async def _append(self, batches: list[_Batch]) -> None:
        now = self._loop.time()
        messages = [
            ((sent.partition, Lane.INTERACTIVE), self._encode(message_id, sent.tickets, now))
            for message_id, sent in batches
        ]
        try:
            refusals = await self._command_log.append(messages)
        except StoreUnavailable as unknown:
            _log.warning("whether commands were queued is not known: %s", unknown)
            return
        except Unavailable as unavailable:
            refusals = [unavailable] * len(batches)
        for (message_id, sent), refusal in zip(batches, refusals, strict=True):
            if refusal is not None:
                self._finish(message_id)
                _fail(sent.tickets, refusal)

    def _encode(self, message_id: str, tickets: list[Ticket], now: float) -> str:
        envelopes = [
            seal(
                ticket.command,
                key=ticket.key,
                command_id=f"{message_id}-{index}",
                remaining_ms=max(int((ticket.deadline - now) * 1000), 1),
                reply_to=self._front_end,
                origin=ticket.origin,
            )
            for index, ticket in enumerate(tickets)
        ]
        return encode_message(envelopes, message_id)

    async def _listen(self) -> None:
        backoff = limits.BACKOFF_FIRST_SECONDS
        while True:
            try:
                block_ms = limits.RESULTS_BLOCK_MS if self._available else 0
                entries = await self._command_log.results(self._front_end, self._cursor, block_ms)
            except BalanceFault as fault:
                if str(fault) != self._away_because:
                    self._away_because = str(fault)
                    _log.warning("the store is away: %s", fault)
                self._available = False
                # A replica that was promoted may give lower ids; what was read before is known here no more.
                self._cursor = _START
                self._looked.set()
                self._fail_waiting("the store cannot be reached")
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, limits.BACKOFF_LAST_SECONDS)
                continue
            self._available, self._away_because, backoff = True, "", limits.BACKOFF_FIRST_SECONDS
            self._looked.set()
            for entry in entries:
                self._cursor = entry.entry_id
                self._take(entry)

    def _take(self, entry: Entry) -> None:
        """Give out the answers of one entry. One that cannot be read must not end the listening."""
        try:
            for message_id, answers in _read_answers(entry.payload):
                self._answer(message_id, answers, entry.arrived_at)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.error("answers cannot be read, their callers will time out: %s", error)

    def _answer(self, message_id: str, answers: Sequence[Answer | None], written_at: int) -> None:
        sent = self._finish(message_id)
        if sent is None:
            return
        self._outboxes[sent.partition].speak()
        if len(answers) != len(sent.tickets):
            _log.error(
                "%d answers to %d commands, their callers will time out", len(answers), len(sent.tickets)
            )
            return
        for ticket, answer in zip(sent.tickets, answers, strict=True):
            if answer is not None and not ticket.future.done():
                ticket.future.set_result(answer)
                if ticket.origin.trace and self._replied is not None:
                    self._replied(ticket.origin.trace, written_at)

    def _finish(self, message_id: str) -> Sent | None:
        """The message is not on its way any more."""
        sent = self._sent.pop(message_id, None)
        if sent is not None:
            self._lose(sent)
            self._free_slot(sent)
        return sent

    def _lose(self, sent: Sent) -> None:
        """The message does not count any more as on its way."""
        self._outboxes[sent.partition].on_their_way -= not sent.lost
        sent.lost = True

    def _miss(self, sent: Sent) -> None:
        """No answer in time: another message may go, and what is behind this one counts as stuck."""
        self._outboxes[sent.partition].fall_silent(sent)
        self._free_slot(sent)

    def _free_slot(self, sent: Sent) -> None:
        if sent.slot_timer is not None:
            sent.slot_timer.cancel()
            sent.slot_timer = None
            self._outboxes[sent.partition].slot_taken = False
        if self._outboxes[sent.partition].waiting:
            self._offer(sent.partition)

    def _fail_waiting(self, reason: str) -> None:
        """What was not sent is certainly not queued."""
        for outbox in self._outboxes:
            _fail(outbox.waiting, Unavailable(reason))
            outbox.waiting.clear()

    async def _watch(self) -> None:
        """Look at the store's memory, ops' pause, the pace of answers; forget messages nobody waits for."""
        while True:
            try:
                self._has_room = await self._command_log.has_room()
                self._paused = await self._command_log.heed_ops(self._front_end)
            except BalanceFault:
                self._has_room = True  # whether it is paused stays as it was last seen
            self._watched.set()
            self._room.learn(self._loop.time())
            self._forget()
            await asyncio.sleep(limits.WATCH_SECONDS)

    def _forget(self) -> None:
        """Let go of messages nobody waits for, and of the places of those that must have been lost."""
        long_ago = self._loop.time() - limits.LOST_SECONDS
        for message_id, sent in list(self._sent.items()):
            if all(ticket.future.done() for ticket in sent.tickets):
                self._finish(message_id)
            elif sent.at < long_ago and not sent.lost:
                self._lose(sent)
                self._offer(sent.partition)


def _read_answers(payload: bytes) -> Iterable[tuple[str, Sequence[Answer | None]]]:
    """Answers by message. One of a release ahead may not be read: it is None, and the others are."""
    try:
        return _decode_answers(payload)
    except msgspec.MsgspecError:
        return [(message_id, [*map(_read_answer, raws)]) for message_id, raws in _decode_unread(payload)]


def _read_answer(raw: msgspec.Raw) -> Answer | None:
    try:
        return _decode_answer(raw)
    except msgspec.MsgspecError as error:
        _log.error("an answer cannot be read, its caller will time out: %s", error)
        return None


async def _keep(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it again whatever it meets: a front end that does not send, listen or watch closes partitions."""
    while True:
        try:
            await run()
        except Exception:
            _log.exception("the bus met a fault of ours")
            await asyncio.sleep(limits.BACKOFF_LAST_SECONDS)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until it is so: a client library may swallow one cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        pending = (await asyncio.wait(pending, timeout=limits.CANCEL_SECONDS))[1]


def _expire(future: "asyncio.Future[Answer]") -> None:
    if not future.done():
        future.set_exception(DeadlinePassed("no answer in time; the same key gets the one outcome"))


def _fail(tickets: "list[Ticket] | deque[Ticket]", fault: BalanceFault) -> None:
    for ticket in tickets:
        if not ticket.future.done():
            ticket.future.set_exception(type(fault)(*fault.args))
