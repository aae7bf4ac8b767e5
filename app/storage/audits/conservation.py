"""The audit of the whole store: the supply of chips, queues, dead letters, and some more of the sweep."""

import time
from collections import Counter
from collections.abc import Callable

import msgspec

from app.services.faults import StoreRefused
from app.services.queue import Lane
from app.services.verification import TOTALS, Findings, What, check_supply, supply_of
from app.storage import keys
from app.storage.audits.book import FindingsBook
from app.storage.audits.partitions import PartitionAudit, budget
from app.storage.audits.passes import share_due
from app.storage.audits.state import AuditedStore, Rules
from app.storage.audits.sweeping import Sweep, Sweeping
from app.storage.pictures import totals_of, whole
from app.storage.plan import Plan


class Stake(msgspec.Struct):
    """What a dead letter tells of chips."""

    amount: int = 0


_decode_sweep = msgspec.json.Decoder(Sweep).decode
_decode_stake = msgspec.json.Decoder(Stake).decode


class Conservation:
    """One task for the whole store. `clock` tells seconds that only grow."""

    def __init__(
        self, store: AuditedStore, rules: Rules, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._book = FindingsBook(store, rules.partitions)
        self._has_time = budget(clock)
        self._revision = ""
        self._last_full = 0

    def run(self) -> None:
        """Count the chips and what waits, then sweep as much as is due."""
        now, sweep = self._load()
        findings = Findings()
        drift = self._drift()
        if drift:
            for partition in range(self._rules.partitions):  # a total that is wrong explains it
                PartitionAudit(self._store, partition, self._rules, self._clock).check()
            drift = self._drift()
        supply = supply_of(self._sums(), self._deficits())
        findings.add(check_supply(msgspec.structs.replace(supply, difference=drift)))
        self._book.report(findings.all())
        if not self._save(sweep, now, self._numbers(now, drift)):
            return
        while not sweep.complete and self._is_behind(sweep) and self._has_time():
            if not self._step(sweep):
                return

    def _step(self, sweep: Sweep) -> bool:
        findings = Findings()
        Sweeping(self._store, findings).step(sweep)
        self._book.report(findings.all())
        if sweep.complete:
            self._last_full = sweep.started
        return self._save(sweep, self._now(), {"lastFull": self._last_full})

    def _load(self) -> tuple[int, Sweep]:
        plan = Plan()
        plan.read("HMGET", keys.AUDIT, "revision", "state", "lastFull")
        now, ((revision, raw, last_full),) = self._store.read(plan)
        self._revision = (revision or b"").decode()
        self._last_full = int(last_full or 0)
        try:
            sweep = _decode_sweep(raw) if raw else Sweep()
        except msgspec.MsgspecError as error:
            raise StoreRefused(f"the state of an audit cannot be read: {error}") from error
        if sweep.complete and now >= sweep.started + self._rules.period_ms:
            sweep = Sweep(started=now, complete=False)
        return now, sweep

    def _save(self, sweep: Sweep, now: int, numbers: dict[str, int]) -> bool:
        """Replace the state that was loaded; False when another auditor was faster."""
        plan = Plan()
        plan.expect(keys.AUDIT, "revision", self._revision)
        revision = str(int(self._revision or 0) + 1)
        plan.write("HSET", keys.AUDIT, "revision", revision, "state", msgspec.json.encode(sweep).decode())
        plan.write("HSET", keys.AUDIT, "checked", now)
        for name, number in numbers.items():
            plan.write("HSET", keys.AUDIT, name, number)
        plan.write("HINCRBY", keys.META, "commits", 1)
        if self._store.commit(plan):
            return False
        self._revision = revision
        return True

    def _drift(self) -> int:
        """The chips too many by the totals, but for what the last checks have shown to be wrong."""
        sums, checked = self._sums(), self._checked()
        for partition in range(self._rules.partitions):
            for kept in self._book.read(partition):
                finding = kept.finding
                name = finding.where.rpartition(" ")[2]
                is_known = kept.is_open and kept.last_seen >= checked[partition]
                if is_known and finding.what is What.TOTAL_DIFFERS:
                    sums[name] += (whole(str(finding.expected)) or 0) - (whole(str(finding.found)) or 0)
        return supply_of(sums, 0).difference

    def _sums(self) -> Counter[str]:
        """The totals of all partitions at one moment."""
        sums: Counter[str] = Counter()
        for totals in totals_of(self._store, self._rules.partitions):
            sums.update({name: whole(totals.get(name, "0")) or 0 for name in TOTALS})
        return sums

    def _checked(self) -> list[int]:
        """When each partition was checked last (ms)."""
        plan = Plan()
        for partition in range(self._rules.partitions):
            plan.read("HGET", keys.audit(partition), "checked")
        return [int(each or 0) for each in self._store.read(plan)[1]]

    def _deficits(self) -> int:
        plan = Plan()
        for partition in range(self._rules.partitions):
            plan.read("HGET", keys.audit(partition), "tableDeficits")
        return sum(int(each or 0) for each in self._store.read(plan)[1])

    def _numbers(self, now: int, drift: int) -> dict[str, int]:
        """What waits, and the findings that concern the whole store."""
        oldest, stakes = self._waiting()
        still_open = self._book.clear(None, now, now)
        return {
            "driftChips": drift,
            "oldestMessage": oldest,
            "deadLetters": len(stakes),
            "chipsAtStake": sum(stakes),
            "findings": len(still_open),
        }

    def _waiting(self) -> tuple[int, list[int]]:
        """When the oldest message in a queue arrived (ms, 0 for none), and the chips in each dead letter."""
        plan = Plan()
        partitions = range(self._rules.partitions)
        for partition in partitions:
            for lane in Lane:
                plan.read("XRANGE", keys.queue(partition, lane), "-", "+", "COUNT", 1)
        arrivals = [int(found[0][0].partition(b"-")[0]) for found in self._store.read(plan)[1] if found]
        stakes = []
        for partition in partitions:
            plan = Plan()
            plan.read("HVALS", keys.dead_letters(partition))
            stakes += [_decode_stake(raw).amount for raw in self._store.read(plan)[1][0]]
        return min(arrivals, default=0), stakes

    def _is_behind(self, sweep: Sweep) -> bool:
        """Whether more must be looked at by now. A key may be named twice, so only the end is the end."""
        elapsed, period = self._now() - sweep.started, self._rules.period_ms
        return elapsed >= period or sweep.seen < share_due(self._store.size(), elapsed, period)

    def _now(self) -> int:
        return self._store.read(Plan())[0]
