"""What ops see at a glance, read from the store, and the switch that pauses the service."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from app.domain.identifiers import house_of
from app.services.ops_log import Deed
from app.services.overview import (
    AccountLine,
    AccountPage,
    LaneState,
    Leader,
    Parked,
    PauseView,
    Status,
    WorkerShare,
)
from app.services.queue import Lane
from app.services.stops import Stop
from app.services.verification import TOTALS, supply_of
from app.storage import codec, keys
from app.storage.backend import Backend, Reply
from app.storage.ops_log import StoreOpsLog
from app.storage.plan import Plan
from app.storage.stops import StoreStops

ACCOUNTS_LOOKED_AT = 5_000
"""How many accounts one page looks at for those of a status."""

_decode_pause = msgspec.json.Decoder(PauseView).decode
_encode = msgspec.json.Encoder().encode


class StoreOverview:
    """Implements `app.services.overview.Overview`."""

    def __init__(self, backend: Backend, partitions: int) -> None:
        self._backend = backend
        self._partitions = partitions

    def status(self) -> Status:
        """See Overview. The totals are of one moment; the rest is read right after them."""
        every = range(self._partitions)
        now, totals = self._read([("HGETALL", keys.totals(each)) for each in every])
        _, (workers, front_ends, leader, paused) = self._read(
            [
                ("ZRANGE", keys.WORKERS, 0, -1, "WITHSCORES"),
                ("ZRANGE", keys.FRONT_ENDS, 0, -1, "WITHSCORES"),
                ("HMGET", keys.SCHEDULER, "leader", "since", "until"),
                ("HGET", keys.OPS, keys.PAUSED_FIELD),
            ]
        )
        _, leases = self._read([("HMGET", keys.partition(each), "owner", "until") for each in every])
        owned = {each: owner.decode() for each, (owner, until) in zip(every, leases, strict=True)
                 if owner and int(until or 0) > now}  # fmt: skip
        shares = Counter(owned.values())
        name, since, until = leader
        leads = bool(name) and int(until or 0) > now
        return Status(
            at=now,
            partitions=self._partitions,
            workers=[WorkerShare(worker=each, partitions=shares[each]) for each in _alive(workers, now)],
            front_ends=_alive(front_ends, now),
            unowned=[each for each in every if each not in owned],
            lanes=[self._lane(lane, now) for lane in Lane],
            leader=Leader(name=name.decode(), since=int(since or 0)) if leads else Leader(),
            dead_letters=self._parked(),
            stops=StoreStops(self._backend).of_the_living(),
            paused=_decode_pause(paused) if paused else None,
            supply=supply_of(_sums(totals), 0),
        )

    def accounts(self, after: str, limit: int, status: str = "") -> AccountPage:
        """See Overview."""
        partition, _, last = after.partition("|") if after else ("000", "", "")
        if not (partition.isdecimal() and partition.isascii()):
            raise ValueError("is no place in the list")
        found: list[AccountLine] = []
        looked_at = 0
        for number in range(int(partition), self._partitions):
            _, (members,) = self._read([("SMEMBERS", keys.account_ids(number))])
            ids = sorted(member.decode() for member in members)
            for first in range(0, len(ids), limit):
                page = [each for each in ids[first : first + limit] if each > last]
                lines = [each for each in self._lines(number, page) if status in ("", each.status)]
                looked_at += len(page)
                found += lines[: limit - len(found)]
                if len(found) == limit:
                    return AccountPage(accounts=found, next=f"{number:03d}|{found[-1].account_id}")
                if looked_at >= ACCOUNTS_LOOKED_AT:
                    return AccountPage(accounts=found, next=f"{number:03d}|{page[-1]}")
            last = ""
        return AccountPage(accounts=found, next="")

    def house(self) -> list[AccountLine]:
        """See Overview."""
        asked = [(each, house_of(each)) for each in range(self._partitions)]
        _, replies = self._read(
            [("HMGET", keys.account(each, name), *codec.ACCOUNT_FIELDS) for each, name in asked]
        )
        return [
            line for (_, name), fields in zip(asked, replies, strict=True) if (line := _line(name, fields))
        ]

    def _lines(self, partition: int, ids: list[str]) -> list[AccountLine]:
        asked = [("HMGET", keys.account(partition, each), *codec.ACCOUNT_FIELDS) for each in ids]
        replies = self._read(asked)[1] if asked else []
        return [line for each, fields in zip(ids, replies, strict=True) if (line := _line(each, fields))]

    def _lane(self, lane: Lane, now: int) -> LaneState:
        every = range(self._partitions)
        _, lengths = self._read([("XLEN", keys.queue(each, lane)) for each in every])
        waiting = [each for each in every if lengths[each]]
        asked = [("XRANGE", keys.queue(each, lane), "-", "+", "COUNT", 1) for each in waiting]
        heads = self._read(asked)[1] if asked else []
        since = [
            (int(head[0][0].partition(b"-")[0]), each)
            for each, head in zip(waiting, heads, strict=True)
            if head  # worked off meanwhile
        ]
        if not since:
            return LaneState(lane=lane, messages=sum(lengths))
        oldest, partition = min(since)
        return LaneState(
            lane=lane, messages=sum(lengths), oldest_ms=max(now - oldest, 0), oldest_partition=partition
        )

    def _parked(self) -> Parked:
        every = range(self._partitions)
        _, counts = self._read([("HLEN", keys.dead_letters(each)) for each in every])
        chips, oldest = 0, 0
        for partition in (each for each in every if counts[each]):
            _, (pairs,) = self._read([("HGETALL", keys.dead_letters(partition))])
            letters = list(filter(None, map(codec.dead_letter, pairs[1::2])))
            chips += sum(letter.amount for letter in letters)
            oldest = min(filter(None, (oldest, *(letter.parked_at for letter in letters))), default=0)
        return Parked(count=sum(counts), chips=chips, oldest=oldest)

    def _read(self, asked: Sequence[tuple[str | int, ...]]) -> tuple[int, list[Reply]]:
        plan = Plan()
        for command, key, *args in asked:
            plan.read(str(command), str(key), *args)
        return self._backend.read(plan)


class StoreSwitches:
    """Implements `app.services.operations.Switches`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._log = StoreOpsLog(backend)

    def pause(self, who: str, why: str) -> bool:
        """See Switches."""

        def prepare(plan: Plan, now: int) -> Deed | None:
            if self._paused():
                return None
            pause = PauseView(by=who, why=why, at=now)
            plan.write("HSET", keys.OPS, keys.PAUSED_FIELD, _encode(pause).decode())
            return Deed(who=who, what="pause", why=why)

        return self._log.commit(prepare)

    def resume(self, who: str, why: str) -> bool:
        """See Switches."""

        def prepare(plan: Plan, _now: int) -> Deed | None:
            if not self._paused():
                return None
            plan.write("HDEL", keys.OPS, keys.PAUSED_FIELD)
            return Deed(who=who, what="resume", why=why)

        return self._log.commit(prepare)

    def take_down(self, kind: str, deed: Deed) -> list[Stop]:
        """See Switches."""
        return StoreStops(self._backend).take_down(kind, deed)

    def _paused(self) -> bool:
        plan = Plan()
        plan.read("HGET", keys.OPS, keys.PAUSED_FIELD)
        return bool(self._backend.read(plan)[1][0])


def _line(account_id: str, fields: list[bytes | None]) -> AccountLine | None:
    account = codec.account(account_id, fields)
    if account is None:
        return None
    return AccountLine(
        account_id=account_id,
        balance=account.balance,
        reserved=account.reserved,
        version=account.version,
        status=account.status,
    )


def _alive(scored: list[bytes], now: int) -> list[str]:
    """Those whose time is not over yet."""
    return [name.decode() for name, till in zip(scored[::2], scored[1::2], strict=True) if int(till) > now]


def _sums(totals: list[list[bytes]]) -> Counter[str]:
    sums = Counter(dict.fromkeys(TOTALS, 0))
    for pairs in totals:
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            sums[name.decode()] += int(value)
    return sums
