"""A whole service in one test process: workers, a front end and a job on one store, taking turns.

The classes are those of production, down to their ports to the server; there stand the faults. A process
that dies is followed by a new one, as its supervisor would see to it; callers ask until they are answered.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import dramatiq

from app.domain.commands import Command, Part, Payout, PayTogether
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.queueing.broker import StreamsBroker
from app.queueing.bus import Bus
from app.queueing.envelope import seal
from app.queueing.limits import ACTOR_NAME, BACKOFF_LAST_SECONDS, LEASE_MS, QUEUE_NAME, READ_BLOCK_MS
from app.services.execution import Execution
from app.services.faults import BalanceFault
from app.services.queue import Entry, Lane, Stream
from app.storage import keys
from app.storage.plan import Plan
from app.storage.store import BalanceStore
from tests.support.checker import Checker
from tests.support.faults import FaultPlan, FaultyBackend, FaultyCommandLog, Line
from tests.support.playing_fields import PARTITIONS, Field
from tests.support.turns import Process, Turn, Turns, taking_turns
from workers.actors import declare_actors

POLICY = Policy(reservation_timeout_ms=1, partitions=PARTITIONS)
"""A hold without a time of its own is over at once: no test has to wait for it."""
PATIENCE_MS = LEASE_MS
JOB = "job"
RESTART_MS = 100
ALL_IS_ANSWERED_WITHIN_MS = 120_000
ALL_IS_QUIET_WITHIN_MS = 30_000


class Ask(NamedTuple):
    """A command and the key under which it is asked for, as often as it takes."""

    command: Command
    key: str = ""


class Order(NamedTuple):
    """What a job has queued: commands of one partition, in one message of the bulk lane."""

    name: str
    asks: list[Ask]


def together(batch_id: str, *payouts: Ask) -> Ask:
    """These payouts as one command, each under its own key: all of them are paid, or none."""
    return Ask(PayTogether(batch_id=batch_id, parts=tuple(_parts(payouts))))


def _parts(payouts: Iterable[Ask]) -> Iterator[Part]:
    for line, (command, key) in enumerate(payouts, 1):
        assert isinstance(command, Payout)
        yield Part(
            line=line, key=key, account_id=command.account_id, amount=command.amount, type=command.type
        )


class Letter(NamedTuple):
    """What somebody else has put into a queue of the bulk lane."""

    partition: int
    text: str


class Queued(NamedTuple):
    """A message that was queued, once or more often: where, and its envelopes."""

    stream: Stream
    envelopes: list[dict[str, Any]]


class Front:
    """One front-end process. `gone` is done when it has crashed."""

    def __init__(self, process: Process, bus: Bus) -> None:
        self.process = process
        self.bus = bus
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def attempt(self, ask: Ask) -> Answer | None:
        """The answer, or None where the caller is left to ask again.

        A command without a key answers from the state, whatever became of one that was parked.
        """
        execution = self.bus.execute(ask.command, key=ask.key, timeout_ms=PATIENCE_MS)
        asking = asyncio.get_running_loop().create_task(execution)
        waiting: set[asyncio.Future[Any]] = {asking, self.gone}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            asking.cancel()
            return None
        try:
            answer = asking.result()
        except BalanceFault:
            return None
        return answer if ask.key or answer.outcome is not Outcome.DEAD_LETTERED else None


class World:
    """The processes and their store, and what became known of them.

    `queued` are all messages by id, `arrivals` the places of each command in the order of arrival.
    """

    def __init__(self, field: Field, plan: FaultPlan, turns: Turns, *, workers: int) -> None:
        self.field = field
        self.turns = turns
        self.front: Front | None = None
        self.fronts: list[Front] = []
        self.workers: list[Process] = []
        self.checker = Checker()
        self.queued: dict[str, Queued] = {}
        self.arrivals: dict[str, list[int]] = defaultdict(list)
        self.deaths = 0
        self._plan = plan
        self._numbers = count(1)
        self._arrived = count()
        self._jobs_left = 0
        for _ in range(workers):
            self.start_worker()
        self._open_front()

    def run(self, *callers: Coroutine[Any, Any, object]) -> None:
        """Let the callers come to their end, the jobs too, and every queue be empty."""
        asked = asyncio.gather(*map(self.turns.loop.create_task, callers))
        self.turns.run(lambda: asked.done() and not self._jobs_left, ALL_IS_ANSWERED_WITHIN_MS)
        asked.result()
        waited = count(0, 50)
        while self.turns.posted or self.waiting():
            assert next(waited) < ALL_IS_QUIET_WITHIN_MS, f"{self.waiting()} messages are stuck"
            self.turns.run_for(50)

    def results(self) -> Iterator[Entry]:
        """All answers that were ever given, to whomever."""
        for reply_to in (JOB, *(front.bus._front_end for front in self.fronts)):
            yield from self.field.results(reply_to)

    def waiting(self) -> int:
        """How many messages are in the queues."""
        plan = Plan()
        for partition in range(PARTITIONS):
            for lane in Lane:
                plan.read("XLEN", keys.queue(partition, lane))
        return sum(self.field.tool.read(plan)[1])

    def start_worker(self) -> Process:
        """One more worker; another one follows it when it crashes."""
        process = Process(f"worker-{next(self._numbers)}")
        process.on_crash = partial(self._restart, self.start_worker)
        self.workers.append(process)
        self.turns.start(process, partial(self._work, process))
        return process

    def replace_worker(self) -> None:
        """Have the oldest worker stop in good order, and a new one begin."""
        for worker in self._oldest_worker():
            worker.stopping = True
            self.start_worker()

    def kill_worker(self) -> None:
        """Kill the oldest worker."""
        for worker in self._oldest_worker():
            worker.crash()

    def freeze_worker(self, milliseconds: int) -> None:
        """Have the oldest worker stand still, wherever it is."""
        for worker in self._oldest_worker():
            worker.frozen_until = self.turns.now + milliseconds

    def kill_front(self) -> None:
        """Kill the front end."""
        if self.front is not None:
            self.front.process.crash()

    def start_job(self, *orders: Order | Letter) -> None:
        """A process that queues all this, and begins again from the first if it crashes."""
        process = Process(JOB)
        process.on_crash = partial(self._restart, partial(self.start_job, *orders))
        self._jobs_left = 1
        self.turns.start(process, partial(self._send, process, orders))

    def _oldest_worker(self) -> list[Process]:
        return [worker for worker in self.workers if not worker.dead and not worker.stopping][:1]

    def _work(self, process: Process) -> None:
        line = Line(self.turns, process, "worker", self._plan)
        backend = self._connect(process, "execution")
        components = iter(("ownership", "consumer"))

        def check_store() -> None:
            backend.commits = line.step("check", lambda: self.field.check(backend.commits))

        broker = StreamsBroker(
            lambda: self._connect(process, next(components)),
            partitions=PARTITIONS,
            check_store=check_store,
            worker=process.name,
        )
        store = BalanceStore(backend, PARTITIONS, POLICY.refusal_ttl_ms)
        actor = declare_actors(broker, Execution(store, POLICY))
        consumer = self._until_available(lambda: broker.consume(QUEUE_NAME, READ_BLOCK_MS))
        while not process.stopping:
            message = next(consumer)
            if message is not None:
                actor(*message.args)
                consumer.ack(message)
        broker.close()

    def _send(self, process: Process, orders: tuple[Order | Letter, ...]) -> None:
        backend = self._connect(process, JOB)
        broker = StreamsBroker(lambda: backend, partitions=PARTITIONS)
        broker.declare_queue(QUEUE_NAME)
        for order in orders:
            if isinstance(order, Order):
                self._until_available(partial(broker.enqueue, _message_of(order)))
            else:
                stream = (order.partition, Lane.BULK)
                self._until_available(partial(backend.append, [(stream, order.text)]))
        self._jobs_left = 0

    def _until_available(self, attempt: Callable[[], Any]) -> Any:
        while True:
            with suppress(BalanceFault):
                return attempt()
            self.turns.wait(BACKOFF_LAST_SECONDS * 1000)

    def _connect(self, process: Process, component: str) -> FaultyBackend:
        line = Line(self.turns, process, component, self._plan)
        return FaultyBackend(self.field.backend(), line, self._note_arrival)

    def _open_front(self) -> None:
        process = Process(f"front-{next(self._numbers)}")
        process.on_crash = self._on_front_crash
        line = Line(self.turns, process, "front end", self._plan)

        async def open_front() -> None:
            log = FaultyCommandLog(self.field.command_log(), line, self._note_arrival)
            bus = Bus(log, partitions=PARTITIONS, max_waiting=1_000)
            bus.start()
            self.front = Front(process, bus)
            self.fronts.append(self.front)

        self.turns.loop.create_task(open_front())

    def _on_front_crash(self) -> None:
        if self.front is not None:
            self.front.gone.set_result(None)
            self.front = None
        self._restart(self._open_front)

    def _restart(self, start: Callable[[], object]) -> None:
        """Do what a supervisor does when one of its processes has died."""
        self.deaths += 1
        self.turns.post(RESTART_MS, start)

    def _note_arrival(self, messages: list[tuple[Stream, str]]) -> None:
        for stream, text in messages:
            message = json.loads(text)
            envelopes = message["args"][0]
            self.queued[message["message_id"]] = Queued(stream, envelopes)
            for command_id in command_ids(envelopes):
                self.arrivals[command_id].append(next(self._arrived))


def command_ids(envelopes: list[dict[str, Any]]) -> Iterator[str]:
    """The ids of all commands in a message, those of payouts that are paid together too."""
    for envelope in envelopes:
        yield envelope["commandId"]
        for part in envelope.get("payload", {}).get("parts", ()):
            yield f"{envelope['payload']['batchId']}#{part['line']}"


@contextmanager
def world_of(
    field: Field,
    plan: FaultPlan,
    *,
    workers: int = 2,
    choose: Callable[[list[Turn]], Turn] = lambda ready: ready[0],
) -> Iterator[World]:
    """A new world on an empty field; all its processes are gone at the end."""
    field.empty()
    turns = Turns(choose, field.pass_time)
    with taking_turns(turns):
        try:
            yield World(field, plan, turns, workers=workers)
        finally:
            turns.loop.complete(field.close())


def _message_of(order: Order) -> "dramatiq.Message[None]":
    envelopes = [
        seal(ask.command, key=ask.key, command_id=f"{order.name}-{index}", remaining_ms=0, reply_to=JOB)
        for index, ask in enumerate(order.asks)
    ]
    return dramatiq.Message(
        queue_name=QUEUE_NAME,
        actor_name=ACTOR_NAME,
        args=([json.loads(bytes(envelope)) for envelope in envelopes],),
        kwargs={},
        options={"lane": Lane.BULK},
        message_id=order.name,
    )
