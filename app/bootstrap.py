"""The composition root: builds the parts of each process from Settings. Importing it has no effect."""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from app.config import Problem, Settings, SettingsError
from app.domain.policy import Policy
from app.domain.rake import RakeRule
from app.queueing.audit_broker import AuditBroker
from app.queueing.broker import StreamsBroker
from app.queueing.bus import Bus
from app.queueing.envelope import tracked_message
from app.queueing.limits import BACKOFF_LAST_SECONDS
from app.queueing.parked import ParkedEnvelopes
from app.services.asynchronous import Submissions
from app.services.audits import Audits
from app.services.dead_letters import DeadLetters
from app.services.execution import Execution
from app.services.faults import DeadlinePassed, StoreUnavailable, Unavailable
from app.services.front_end import FrontEnd
from app.services.operations import Foresight, OpsDesk
from app.services.payouts import Payouts
from app.services.schedule import Schedule
from app.services.stops import FaultWatch, Limits
from app.storage import fitness
from app.storage.audits.queue import StreamsAuditQueue
from app.storage.audits.retention import Kept
from app.storage.audits.state import Rules
from app.storage.audits.tasks import StoreAudits
from app.storage.backend import Backend
from app.storage.backends.metered import MeteredBackend, MeteredConnection
from app.storage.backends.valkey import ValkeyBackend
from app.storage.backends.valkey_async import AsyncCommandLog, AsyncConnection
from app.storage.batches import StoreBatches
from app.storage.commands import StoreCommands
from app.storage.dead_letters import StoreLetters
from app.storage.facts import StoreLook
from app.storage.history import StoreHistory
from app.storage.lookups import StoreLookups
from app.storage.ops_log import StoreOpsLog
from app.storage.overview import StoreOverview, StoreSwitches
from app.storage.queries import READ_SECONDS, StoreQueries
from app.storage.schedule import StoreSchedule
from app.storage.stops import StoreStops
from app.storage.store import BalanceStore
from app.telemetry.parts import NO_TELEMETRY, Telemetry
from app.telemetry.store_page import StoreCollector

Result = TypeVar("Result")

_LOOK_SECONDS = 2.0  # a store that takes longer to be looked at is away: whoever scrapes waits for 10 s
_log = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class WorkerParts:
    """What a worker process runs: Dramatiq on our broker, and the execution of units."""

    broker: StreamsBroker
    execution: Execution


@dataclass(slots=True, frozen=True)
class AuditorParts:
    """What an auditor process runs: Dramatiq on the queue of audits, and what carries them out."""

    broker: AuditBroker
    audits: Audits


@dataclass(slots=True, frozen=True)
class SchedulerParts:
    """What a scheduler process works with. `check_store` raises StoreUnfit; see `app.storage.fitness`."""

    schedule: Schedule
    check_store: Callable[[], None]
    close: Callable[[], None]


def policy(settings: Settings) -> Policy:
    """The settings that the rules depend on."""
    return Policy(
        reservation_timeout_ms=settings.reservation_timeout_ms,
        refusal_ttl_ms=settings.idempotency_ttl_ms,
        enforce_table_bank=settings.table_bank == "enforce",
        rake=RakeRule(settings.rake_basis_points, settings.rake_cap_chips, settings.rake_min_pot_chips),
        partitions=settings.partitions,
    )


def store_url(settings: Settings) -> str:
    """Where the store is. Processes are told by REDIS_URL; `balance up` sets it for the embedded one."""
    if settings.redis_url is None:
        raise SettingsError(
            [Problem(("REDIS_URL",), "not set: start the processes with `balance up`, or set it")]
        )
    return settings.redis_url


def check_store(settings: Settings, seen_commits: int = 0) -> int:
    """Raise StoreUnfit unless the store may hold money; its commit counter. See `app.storage.fitness`."""
    backend = ValkeyBackend(store_url(settings))
    try:
        return fitness.check(
            backend,
            partitions=settings.partitions,
            allow_weak=settings.allow_weak_durability,
            seen_commits=seen_commits,
            allow_lost=settings.allow_lost_commits,
            wait_replicas=settings.wait_replicas,
        )
    finally:
        backend.close()


def wait_for_store(
    settings: Settings, stopped: Callable[[], object], pause: Callable[[float], object]
) -> bool:
    """True when the store is there and fit; False when the process was told to stop before.

    `pause` waits for so many seconds. Raises StoreUnfit.
    """
    while not stopped():
        try:
            check_store(settings)
        except StoreUnavailable as away:
            _log.warning("waiting for the store: %s", away)
            pause(BACKOFF_LAST_SECONDS)
        else:
            return True
    return False


def make_worker(settings: Settings, telemetry: Telemetry = NO_TELEMETRY) -> WorkerParts:
    """The parts of one worker process. Connects when the work begins."""
    connect = partial(_backend, settings, telemetry)
    backend = connect()
    window = settings.fault_window_commands
    watch = FaultWatch(Limits(window, most_faults=window * settings.fault_limit_percent // 100))
    broker = StreamsBroker(
        connect,
        partitions=settings.partitions,
        check_store=lambda: _keep_counting(backend, settings),
        worker=f"{socket.gethostname()}-{secrets.token_hex(8)}",
        middleware=[*telemetry.middleware],
        watch=watch,
        board=StoreStops(connect()),
    )
    rows = BalanceStore(
        backend, settings.partitions, settings.idempotency_ttl_ms, settings.command_state_ttl_ms
    )
    store = telemetry.store(rows)
    return WorkerParts(broker, Execution(store, policy(settings), watch, broker.progressed))


def make_auditor(settings: Settings, telemetry: Telemetry = NO_TELEMETRY) -> AuditorParts:
    """The parts of one auditor process. Connects when the work begins."""
    backend = _backend(settings, telemetry)
    rules = Rules(settings.partitions, settings.full_verification_period_ms, settings.stuck_pot_ms)
    kept = Kept(settings.event_feed_length, settings.event_reader_timeout_ms)
    broker = AuditBroker(
        lambda: StreamsAuditQueue(_backend(settings, telemetry)),
        check_store=lambda: _keep_counting(backend, settings),
    )
    return AuditorParts(broker, StoreAudits(backend, rules, kept))


def make_scheduler(settings: Settings, telemetry: Telemetry = NO_TELEMETRY) -> SchedulerParts:
    """The parts of one scheduler process. Connects when the work begins."""
    backend = _backend(settings, telemetry)
    return SchedulerParts(
        schedule=StoreSchedule(backend),
        check_store=lambda: _keep_counting(backend, settings),
        close=backend.close,
    )


def make_store_collector(settings: Settings) -> StoreCollector:
    """What the metrics page says of the store itself."""
    backend = ValkeyBackend(store_url(settings), timeout_seconds=_LOOK_SECONDS)
    return StoreCollector(StoreLook(backend, settings.partitions))


async def open_front_end(settings: Settings, telemetry: Telemetry = NO_TELEMETRY) -> FrontEnd:
    """The parts of one front-end process, running. The store may be away: the bus connects by itself.

    Raises StoreUnfit when the store is there and must not be worked with.
    """
    check = partial(check_store, settings)
    with suppress(StoreUnavailable):  # the bus refuses commands until the store has passed the check
        await asyncio.to_thread(check)
    url, connect, partitions = store_url(settings), _connector(telemetry), settings.partitions
    reads = [connect(url, READ_SECONDS) for _ in range(3)]
    queries = StoreQueries(reads[0], partitions)
    history = StoreHistory(reads[1], partitions)
    lookups = StoreLookups(reads[2], partitions)
    jobs = AsyncConnection(url, wait_replicas=settings.wait_replicas)
    log = AsyncCommandLog(url, check, settings.wait_replicas, [*reads, jobs], connect)
    bus = Bus(
        log,
        partitions=partitions,
        max_waiting=settings.max_waiting_commands,
        replied=telemetry.replied,
    )
    bus.start()
    await bus.looked()  # whoever calls at once is not told that the store is away when it is not

    async def close() -> None:
        await bus.close()
        await queries.close()
        await history.close()
        await lookups.close()
        await jobs.close()
        await log.close()
        await asyncio.to_thread(telemetry.close)

    return FrontEnd(
        bus=telemetry.bus(bus),
        queries=queries,
        history=history,
        lookups=lookups,
        ops=OpsThreads(settings),
        submissions=Submissions(StoreCommands(jobs), tracked_message, partitions=partitions, admit=bus.admit),
        payouts=Payouts(
            StoreBatches(jobs, partitions), tracked_message, partitions=partitions, admit=bus.admit
        ),
        close=close,
        watch=telemetry.watch,
    )


class OpsThreads:
    """Implements `app.services.operations.OpsRoom`: each job has a thread and a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def read(self, job: Callable[[OpsDesk], Result]) -> Result:
        """See OpsRoom."""
        try:
            return await asyncio.to_thread(self._run, job)
        except StoreUnavailable as away:
            raise Unavailable(str(away)) from away

    async def act(self, job: Callable[[OpsDesk], Result]) -> Result:
        """See OpsRoom."""
        try:
            return await asyncio.to_thread(self._run, job)
        except StoreUnavailable as away:
            raise DeadlinePassed(str(away)) from away

    def _run(self, job: Callable[[OpsDesk], Result]) -> Result:
        settings = self._settings
        with closing(ValkeyBackend(store_url(settings), settings.wait_replicas)) as backend:
            return job(ops_desk(backend, settings))


def ops_desk(backend: Backend, settings: Settings) -> OpsDesk:
    """What ops work with, on this connection."""
    rules, partitions = policy(settings), settings.partitions
    store = BalanceStore(backend, partitions, settings.idempotency_ttl_ms)
    log = StoreOpsLog(backend)
    letters = StoreLetters(backend, partitions)
    return OpsDesk(
        dead_letters=DeadLetters(letters, log, store, ParkedEnvelopes(partitions), rules),
        log=log,
        overview=StoreOverview(backend, partitions),
        switches=StoreSwitches(backend),
        foresight=Foresight(store, rules),
    )


def _backend(settings: Settings, telemetry: Telemetry) -> ValkeyBackend:
    url = store_url(settings)
    return MeteredBackend(url, telemetry.calls) if telemetry.metrics else ValkeyBackend(url)


def _connector(telemetry: Telemetry) -> Callable[[str, float], AsyncConnection]:
    if telemetry.metrics is None:
        return AsyncConnection
    return lambda url, timeout_seconds: MeteredConnection(url, timeout_seconds, telemetry.calls)


def _keep_counting(backend: ValkeyBackend, settings: Settings) -> None:
    # Where answers wait for replicas, a primary may take commits with it that nobody was told of.
    seen = 0 if settings.wait_replicas else backend.commits
    backend.commits = check_store(settings, seen)
