"""The least that one deposit can cost the store: one commit, called directly, without queue and front end."""

import secrets
import time
from contextlib import closing

from app.domain.commands import Deposit
from app.domain.identifiers import partition_of
from app.services.queue import Lane
from app.services.work import Delivery
from app.storage import keys
from app.storage.auditing import partitions_of
from app.storage.backends.valkey import ValkeyBackend
from app.storage.plan import Plan
from app.storage.writing import Writing
from ops.bench.deciding import POLICY, Deciding
from ops.bench.load import Measured, Stopwatch

_ENTRY_ID = "1-1"  # was never in the queue: its removal is a part of each commit that changes nothing


def direct_commits(url: str, seconds: float) -> Measured:
    """Commits of one deposit each, one after the other, under the epoch of the partition's real owner."""
    name = f"floor-{secrets.token_hex(4)}"
    with closing(ValkeyBackend(url)) as backend:
        partitions = partitions_of(backend)
        partition = partition_of(name, partitions)
        epoch = int(backend.call("HGET", keys.partition(partition), "epoch"))
        delivery = Delivery(partition, epoch, Lane.INTERACTIVE, _ENTRY_ID, "floor", "floor", [])
        deciding = Deciding(name, partitions)
        watch = Stopwatch()
        until = time.perf_counter() + seconds
        number = 0
        while time.perf_counter() < until:
            plan = _deposit(deciding, f"{name}-{number}", delivery, partitions)
            began = time.perf_counter()
            if backend.commit(plan):
                raise RuntimeError("the partition has changed hands")
            watch.latencies.append(time.perf_counter() - began)
            deciding.written()
            number += 1
        return watch.stop()


def _deposit(deciding: Deciding, key: str, delivery: Delivery, partitions: int) -> Plan:
    now = int(time.time() * 1_000)
    deciding.do(Deposit(account_id=deciding.account_id, amount=1, source="bench"), now, key)
    writing = Writing(partitions, POLICY.refusal_ttl_ms, POLICY.refusal_ttl_ms, now)
    writing.owned(delivery.partition, delivery.epoch)
    writing.changes(deciding.changes)
    writing.answers([delivery])
    return writing.finish()
