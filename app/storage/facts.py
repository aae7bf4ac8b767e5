"""Reads what is known of the whole store, for metrics: a handful of counts for each partition, no record."""

from collections import Counter
from dataclasses import fields

import msgspec

from app.domain.ledger import TransactionType
from app.services.facts import Audited, Owner, StoreFacts
from app.services.queue import Lane
from app.services.verification import sum_of, supply_of
from app.storage import keys
from app.storage.audits.summary import read_summary
from app.storage.backend import Reply
from app.storage.backends.valkey import ValkeyBackend
from app.storage.plan import Plan
from app.storage.stops import StoreStops

LETTERS_LOOKED_AT = 1_000


class StoreLook:
    """Implements `app.services.facts.Facts`. What a look costs depends on the number of partitions alone.

    That is one read for the counts, one each for what audits have left and for safety stops, one for the
    first message of each queue that has any, and one for dead letters while there are some.
    """

    def __init__(self, backend: ValkeyBackend, partitions: int) -> None:
        self._backend = backend
        self._partitions = range(partitions)

    def look(self) -> StoreFacts:
        """See Facts."""
        plan = Plan()
        plan.read("HGETALL", keys.SCHEDULER)
        plan.read("HGET", keys.META, "commits")
        plan.read("HGET", keys.OPS, keys.PAUSED_FIELD)
        for partition in self._partitions:
            _count_in(plan, partition)
        now, replies = self._backend.read(plan)
        scheduler, commits = _texts(replies[0]), int(replies[1] or 0)
        rows = [replies[start : start + _COLUMNS] for start in range(3, len(replies), _COLUMNS)]
        totals: Counter[str] = Counter()
        for row in rows:
            totals.update({name: int(value) for name, value in _texts(row[0]).items()})
        waiting = {lane: [row[2 + index] for row in rows] for index, lane in enumerate(Lane)}
        return StoreFacts(
            now=now,
            commits=commits,
            owners={each: _owner(row[1], now) for each, row in zip(self._partitions, rows, strict=True)},
            waiting={lane: sum(lengths) for lane, lengths in waiting.items()},
            oldest=self._oldest(waiting),
            totals=dict(totals),
            moved={kind.value: totals[sum_of(kind)] for kind in TransactionType},
            supply=supply_of(totals, 0),
            reservations=sum(row[4] for row in rows),
            pots=sum(row[5] for row in rows),
            dead_letters=sum(row[6] for row in rows),
            dead_chips=self._dead_chips([row[6] for row in rows]),
            leader=scheduler.get("leader", "") if int(scheduler.get("until", 0)) > now else "",
            leader_epoch=int(scheduler.get("epoch", 0)),
            slots=_by_job(scheduler, keys.slot_field("")),
            missed=_by_job(scheduler, keys.missed_field("")),
            audited=self._audited(),
            stopped=len({stop.kind for stop in StoreStops(self._backend).of_the_living()}),
            paused=replies[2] is not None,
            **self._memory(),
        )

    def _oldest(self, waiting: dict[Lane, list[int]]) -> dict[Lane, int]:
        """When the oldest message of each lane arrived."""
        plan, lanes = Plan(), []
        for lane, lengths in waiting.items():
            for partition, length in zip(self._partitions, lengths, strict=True):
                if length:
                    plan.read("XRANGE", keys.queue(partition, lane), "-", "+", "COUNT", 1)
                    lanes.append(lane)
        arrived: dict[Lane, list[int]] = {lane: [] for lane in waiting}
        if lanes:
            _, replies = self._backend.read(plan)
            for lane, entries in zip(lanes, replies, strict=True):
                arrived[lane] += [int(entry_id.partition(b"-")[0]) for entry_id, _ in entries]
        return {lane: min(times, default=0) for lane, times in arrived.items()}

    def _dead_chips(self, letters: list[int]) -> int:
        """What the commands in the dead letters are about; of the first ones, should there be very many."""
        plan, most = Plan(), LETTERS_LOOKED_AT
        for partition, count in zip(self._partitions, letters, strict=True):
            if 0 < count <= most:
                plan.read("HVALS", keys.dead_letters(partition))
                most -= count
        if not plan.reads:
            return 0
        _, replies = self._backend.read(plan)
        return sum(_decode_letter(value).amount for values in replies for value in values)

    def _audited(self) -> Audited:
        summary = read_summary(self._backend, len(self._partitions))
        return Audited(**{field.name: getattr(summary, field.name) for field in fields(Audited)})

    def _memory(self) -> dict[str, int]:
        lines = self._backend.call("INFO", "memory").decode().splitlines()
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        return {"memory_used": int(info["used_memory"]), "memory_limit": int(info["maxmemory"])}


class _Letter(msgspec.Struct):
    """What is looked at of a dead letter."""

    amount: int = 0


_COLUMNS = 7
_decode_letter = msgspec.json.Decoder(_Letter).decode


def _count_in(plan: Plan, partition: int) -> None:
    plan.read("HGETALL", keys.totals(partition))
    plan.read("HMGET", keys.partition(partition), "owner", "until", "epoch")
    for lane in Lane:
        plan.read("XLEN", keys.queue(partition, lane))
    plan.read("ZCARD", keys.reservation_expiry(partition))
    plan.read("ZCARD", keys.active_pots(partition))
    plan.read("HLEN", keys.dead_letters(partition))


def _texts(fields: list[bytes]) -> dict[str, str]:
    texts = [each.decode() for each in fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _owner(row: list[Reply], now: int) -> Owner:
    worker, until, epoch = row
    alive = worker and int(until or 0) > now
    return Owner(worker.decode() if alive else "", int(epoch or 0))


def _by_job(scheduler: dict[str, str], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): int(value) for name, value in scheduler.items() if name.startswith(prefix)
    }
