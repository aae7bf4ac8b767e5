"""The store as it is shipped: fit for money, and each process may do its own work there and no more."""

import asyncio
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest
from redis import Redis
from redis.exceptions import RedisError

from app.client import BalanceClient
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen import balance_pb2_grpc
from app.storage import fitness, keys, library
from app.storage.audits.summary import read_summary
from app.storage.backends.valkey import ValkeyBackend
from tests.crash.witness import PARTITIONS
from tests.support.deployment import Processes
from tests.support.guarded_store import OPS, GuardedStore, guarded_store
from tests.support.load import load_on
from tests.support.ports import free_port
from tests.support.scraping import Page
from tests.support.tokens import SECRET, signed
from tests.support.waiting import eventually
from tests.support.workers import crew

ACCOUNT, QUEUE, RESULTS = keys.account(1, "anna"), keys.queue(1, "bulk"), keys.results("front-end")
ANY_COMMIT = ("FCALL", library.COMMIT, "1", ACCOUNT, "", "")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedStore]:
    with guarded_store(tmp_path_factory.mktemp("guarded")) as found:
        yield found


def test_every_process_works_as_its_own_user(store: GuardedStore, seed: int, tmp_path: Path) -> None:
    """
    Given processes that log in as frontend, ops, worker, scheduler, auditor and metrics
    If they carry out a load, pause and resume, look for holds, audit everything and forget an empty table
    Expect that no command of theirs was refused.
    """

    async def load() -> list[str]:
        await service.until_serving()
        async with load_on(service.address, seed, hasty=4, patient=2) as found:
            await asyncio.sleep(0)
        return found.checker.problems()

    with crew(store, tmp_path) as hired:
        service = Processes(store, hired, PARTITIONS)
        service.worker(REDIS_URL=store.url_of("worker"))
        backend = ValkeyBackend(store.url)
        eventually(lambda: backend.call("FUNCTION", "LIST"), 10)  # it brings the functions: it comes first
        backend.call("SADD", keys.table_ids(1), "left")
        soon = {"LEDGER_VERIFICATION_INTERVAL_MS": "500", "FULL_VERIFICATION_PERIOD_MS": "1000"}
        service.worker("scheduler.main", REDIS_URL=store.url_of("scheduler"), **soon)
        auditing = {"EVENT_FEED_LENGTH": "10", "REDIS_URL": store.url_of("auditor")}
        service.worker("workers.auditor", **soon, **auditing)
        service.front_end(REDIS_URL=store.url_of("frontend"))
        port = free_port()
        service.front_end("app.cli", "metrics", METRICS_PORT=port, REDIS_URL=store.url_of("metrics"))
        ops = {"REDIS_URL": store.url_of("ops"), "HTTP_PORT": free_port(), "JWT_HS256_SECRET": SECRET}
        service.front_end("app.cli", "http", **ops)
        assert asyncio.run(load()) == []
        submit_jobs(service.address)
        eventually(lambda: backend.call("HGET", keys.SCHEDULER, keys.slot_field("expire")), 10)
        eventually(lambda: read_summary(backend, PARTITIONS).last_full, 30)
        eventually(lambda: not backend.call("SISMEMBER", keys.table_ids(1), "left"), 30)
        eventually(partial(switched, ops["HTTP_PORT"], "pause"), 20)
        assert switched(ops["HTTP_PORT"], "resume")
        eventually(lambda: store_up(port), 20)
        verified = service.verify(REDIS_URL=store.url_of("auditor"))
        backend.close()
    assert verified.returncode == 0, verified.stdout + verified.stderr
    with Redis.from_url(store.url) as admin:
        assert admin.acl_log() == []
        assert admin.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def store_up(port: str) -> float:
    """What the page of metrics says of the store; 0 until there is one."""
    try:
        return Page.read(f"127.0.0.1:{port}").value("balance_store_up")
    except OSError:
        return 0


def submit_jobs(address: str) -> None:
    """A command and a batch that nobody waits for, until both are done."""
    with BalanceClient(address) as client, grpc.insecure_channel(address) as channel:
        taken = client.submit_payout("anna", 1, idempotency_key="k")
        eventually(lambda: client.get_command(taken.command_id).answer, 10)
        stub = balance_pb2_grpc.BalanceServiceStub(channel)
        item = pb.PayoutItem(line=1, account_id="anna", amount=1)
        answer = stub.SubmitBatch(iter([pb.SubmitBatchRequest(items=[item])]), timeout=10)
        assert answer.ok, answer
        about = pb.GetBatchRequest(batch_id=answer.batch_id)
        eventually(lambda: stub.GetBatch(about, timeout=10).batch.finished, 10)


def switched(port: str, what: str) -> bool:
    """True when ops have paused the service, or have it take commands again."""
    connection = HTTPConnection(f"127.0.0.1:{port}", timeout=10)
    token = signed(sub="olga", scope="balance:ops")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/api/ops/{what}", '{"reason": "a test"}', headers)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


FOR_NOBODY = [
    ("FLUSHALL",),
    ("EVAL", "return 1", "0"),
    ("FUNCTION", "FLUSH"),
    ("CONFIG", "SET", "appendfsync", "no"),
    ("REPLICAOF", "NO", "ONE"),
    ("DEBUG", "SLEEP", "0"),
    ("SAVE",),
    ("SHUTDOWN",),
    ("KEYS", "*"),
    ("DEL", ACCOUNT),
    ("SET", "another", "1"),
    ("GET", "another"),
]
DENIED = {
    "frontend": [
        ANY_COMMIT,
        ("SET", ACCOUNT, "1"),
        ("XADD", RESULTS, "*", "a", "b"),
        ("XDEL", QUEUE, "1-1"),
        ("EXPIRE", QUEUE, "1"),
        ("EXPIRE", ACCOUNT, "1"),
        ("FUNCTION", "LOAD", "text"),
        ("FCALL", library.COMMIT, "2", keys.dead_letters(1), QUEUE, "", ""),
    ],
    "ops": [
        ANY_COMMIT,
        ("SET", ACCOUNT, "1"),
        ("HINCRBY", keys.totals(1), "a", "1"),
        ("XDEL", QUEUE, "1-1"),
        ("DEL", keys.OPS_LOG),
    ],
    "worker": [],
    "scheduler": [ANY_COMMIT, ("HSET", ACCOUNT, "balance", "1"), ("XDEL", QUEUE, "1-1")],
    "metrics": [ANY_COMMIT, ("HSET", ACCOUNT, "balance", "1"), ("XADD", QUEUE, "*", "m", "x")],
    "auditor": [
        ("RPUSH", keys.ledger(1, "anna", 0), "x"),
        ("HSET", keys.totals(1), "entries", "1"),
        ("SET", keys.transaction(1, "id"), "x"),
        ("XADD", QUEUE, "*", "m", "x"),
        ("XDEL", QUEUE, "1-1"),
        ("XDEL", keys.events(1), "1-1"),
        ("HINCRBY", keys.table(1, "t1"), keys.in_play_field("anna"), "1"),
        ("HDEL", keys.table(1, "t1"), keys.in_play_field("anna")),
        ("HDEL", keys.holds(1, "anna"), "001-id"),
        ("SREM", keys.account_ids(1), "anna"),
    ],
}


def commit_on(*names: str) -> tuple[str, ...]:
    """A commit that touches these keys."""
    return ("FCALL", library.COMMIT, str(len(names)), *names, "", "")


LETTERS, PART_OF_OPS = keys.dead_letters(1), (keys.OPS, keys.OPS_LOG, keys.META)
OF_OPS = [
    commit_on(LETTERS, keys.closed_letter(1, "001-i-1-0-0"), QUEUE, *PART_OF_OPS),
    commit_on(keys.STOPS, *PART_OF_OPS),
    ("FCALL", library.RENEW, "1", keys.FRONT_ENDS, "front-end", "5000"),
]


def test_a_front_end_of_ops_does_what_ops_ask_of_it_and_touches_no_chips(store: GuardedStore) -> None:
    """Dead letters, the queue and the log in one commit; never an account, a ledger or a table with them."""
    with Redis.from_url(store.url) as admin:
        for command in OF_OPS:
            assert admin.acl_dryrun("ops", *command) == b"OK", command
        for key in (ACCOUNT, keys.ledger(1, "anna", 0), keys.table(1, "t1"), keys.totals(1), RESULTS):
            assert admin.acl_dryrun("ops", *commit_on(key, *PART_OF_OPS)) != b"OK", key


def test_an_auditor_takes_out_of_an_index_what_is_not_there(store: GuardedStore) -> None:
    """The commit names the record as well, and compares that there is none."""
    with Redis.from_url(store.url) as admin:
        for command in (
            commit_on(keys.table(1, "t1"), keys.table_ids(1), keys.META),
            commit_on(keys.reservation(1, "001-id"), keys.reservation_expiry(1), keys.META),
            commit_on(keys.holds(1, "anna"), keys.reservation_expiry(1), keys.META),
            ("SREM", keys.table_ids(1), "t1"),
        ):
            assert admin.acl_dryrun("auditor", *command) == b"OK", command


@pytest.mark.parametrize("user", DENIED)
def test_nobody_may_do_more_than_its_own_work(store: GuardedStore, user: str) -> None:
    """What would make chips, stop the queue or loosen the settings is refused by the server."""
    with Redis.from_url(store.url) as admin:
        for command in [*DENIED[user], *FOR_NOBODY]:
            assert admin.acl_dryrun(user, *command) != b"OK", command


def test_nobody_logs_in_without_a_password(store: GuardedStore) -> None:
    """Neither the default user nor anyone with another password; the file as it is shipped lets nobody in."""
    for login in ("", "default:@", "frontend:@", "replica:replica@", "admin:admin@"):
        with Redis.from_url(f"redis://{login}{store.place}") as client, pytest.raises(RedisError):
            client.ping()
    shipped = (OPS / "valkey-users.acl").read_text()
    assert not any(word.startswith((">", "#", "nopass")) for word in shipped.split())


def test_the_settings_are_fit_for_money(store: GuardedStore) -> None:
    """As every process looks at them."""
    backend = ValkeyBackend(store.url_of("worker"))
    fitness.check(backend, partitions=PARTITIONS, allow_weak=False)
    backend.close()
