"""The audit of one partition, as a task has it done: what is new, and some more of the full pass.

A task may be done twice, and by two auditors at once: the state of the slower one is not kept, and what it
has written into the book of findings is true all the same.
"""

import time
from collections.abc import Callable, Iterable

from app.services.verification import Finding, Findings, What
from app.storage import keys
from app.storage.audits.book import FindingsBook, is_chain_break, is_notice
from app.storage.audits.changes import Changes, Checked
from app.storage.audits.passes import Passing, share_due
from app.storage.audits.repairs import is_left_over, take_out, take_out_tables
from app.storage.audits.state import AuditedStore, FullPass, Numbers, PartitionState, Rules, StateKeeper
from app.storage.plan import Plan

BUDGET_SECONDS = 5.0
"""How long a task goes on with what it need not do at once."""


class PartitionAudit:
    """One task for one partition. `clock` tells seconds that only grow."""

    def __init__(
        self,
        store: AuditedStore,
        partition: int,
        rules: Rules,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._partition = partition
        self._rules = rules
        self._book = FindingsBook(store, rules.partitions)
        self._keeper = StateKeeper(store, partition)
        self._has_time = budget(clock)
        self._last_full = 0

    def run(self) -> None:
        """Check what is new, then visit as many accounts as are due; stop when another auditor was faster."""
        _, state, self._last_full = self._keeper.load()
        if not self._check_changes(state):
            return
        if state.full is None:
            return
        while not state.full.complete and self._is_behind(state.full) and self._has_time():
            if not self._step(state, state.full):
                return
        if state.full.complete:
            self._check_changes(state)

    def check(self) -> None:
        """Check what is new, and nothing else."""
        _, state, self._last_full = self._keeper.load()
        self._check_changes(state)

    def _check_changes(self, state: PartitionState) -> bool:
        """Check all that is new; False when there is no time left, or no need."""
        while True:
            findings = Findings()
            changes = Changes(self._store, self._partition, findings, self._rules.sizes)
            passed = state.full if state.full and state.full.complete else None
            checked = changes.check(state)
            stuck = self._stuck(checked)
            self._report([*findings.all(), *stuck], checked.frozen)
            numbers = Numbers(entries=changes.entries)
            if checked.whole:
                numbers = self._numbers(state, passed, checked, changes.entries)
            if not self._keeper.save(state, checked.now, numbers):
                return False
            take_out_tables(self._store, self._partition, checked.empty_tables)
            if checked.whole:
                return True
            if not self._has_time():
                return False

    def _numbers(
        self, state: PartitionState, passed: FullPass | None, checked: Checked, entries: int
    ) -> Numbers:
        """End the pass that was complete, begin one that is due, and look through the book."""
        if passed is not None and state.full is passed:
            self._last_full, state.full = passed.started, None
        if state.full is None and checked.now >= self._last_full + self._rules.period_ms:
            state.full = FullPass(started=checked.now)
        still_open = self._book.clear(self._partition, self._seen_by_all(), checked.now)
        return Numbers(
            checked=checked.now,
            last_full=self._last_full,
            entries=entries,
            findings=sum(not is_notice(each) for each in still_open),
            chain_breaks=sum(is_chain_break(each) for each in still_open),
            stuck_pots=sum(is_notice(each) for each in still_open),
            table_deficits=checked.deficits,
        )

    def _step(self, state: PartitionState, full: FullPass) -> bool:
        findings = Findings()
        passing = Passing(self._store, self._partition, findings, self._rules.sizes)
        now = self._now()
        frozen = passing.step(full, max(self._due(full, now) - full.visited, 1))
        self._report(findings.all(), frozen)
        return self._keeper.save(state, now, Numbers(entries=passing.entries))

    def _report(self, findings: Iterable[Finding], frozen: frozenset[str]) -> None:
        for finding in findings:
            if is_left_over(finding) and take_out(self._store, self._partition, finding):
                self._book.repaired(finding)
            else:
                self._book.report([finding], spare=frozen)

    def _stuck(self, checked: Checked) -> list[Finding]:
        """The pots that are active for too long."""
        since = checked.now - self._rules.stuck_pot_ms
        return [
            Finding(
                what=What.POT_STUCK,
                where=f"{keys.active_pots(self._partition)} {member}",
                expected=f"an end by {start + self._rules.stuck_pot_ms}",
                found=f"active since {start}",
            )
            for member, start in sorted(checked.starts.items())
            if start < since
        ]

    def _seen_by_all(self) -> int:
        """When the last passes over everything began, over the partition's accounts and over all keys."""
        plan = Plan()
        plan.read("HGET", keys.AUDIT, "lastFull")
        return min(self._last_full, int(self._store.read(plan)[1][0] or 0))

    def _is_behind(self, full: FullPass) -> bool:
        return full.visited < self._due(full, self._now())

    def _due(self, full: FullPass, now: int) -> int:
        plan = Plan()
        plan.read("SCARD", keys.account_ids(self._partition))
        return share_due(self._store.read(plan)[1][0], now - full.started, self._rules.period_ms)

    def _now(self) -> int:
        return self._store.read(Plan())[0]


def budget(clock: Callable[[], float]) -> Callable[[], bool]:
    """Whether there is time left, asked from now on."""
    end = clock() + BUDGET_SECONDS
    return lambda: clock() < end
