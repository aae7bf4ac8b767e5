"""The ops log in the store: one list, and its head in a hash that every line is compared with."""

import random
import time
from collections.abc import Callable

from app.domain.ledger import GENESIS
from app.services.faults import StoreUnavailable
from app.services.ops_log import Deed, LogHead, LogReport, ReadLine, follow, read_lines, seal_line
from app.storage import keys
from app.storage.backend import Backend
from app.storage.plan import Plan

MOST_TRIES = 50
"""Others may write lines at the same time; each try that fails means that one of them has."""
JITTER_SECONDS = 0.005
PAGE = 1_000

Prepare = Callable[[Plan, int], Deed | None]
"""Puts checks and writes into a plan, at a time (ms), and says what deed that is; None when there is none."""


class StoreOpsLog:
    """Implements `app.services.ops_log.OpsLog`, and commits what ops do together with its line."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def append(self, deed: Deed) -> None:
        """See OpsLog."""
        self.commit(lambda _plan, _now: deed)

    def commit(self, prepare: Prepare) -> bool:
        """Write what `prepare` plans and its line, all or nothing; it is asked again after a conflict.

        False when it says that there is nothing to do. Raises StoreUnavailable when others are in the way
        for too long, or as the backend does: whether it was written is unknown then.
        """
        for _ in range(MOST_TRIES):
            now, head = self._head()
            plan = Plan()
            deed = prepare(plan, now)
            if deed is None:
                return False
            self._write_line(plan, deed, head, now)
            if not self._backend.commit(plan):
                return True
            time.sleep(random.uniform(0, JITTER_SECONDS))  # noqa: S311 - jitter, not a secret
        raise StoreUnavailable("the ops log is too busy; nothing was done")

    def lines(self, before: int, limit: int) -> list[ReadLine]:
        """See OpsLog."""
        _, head = self._head()
        last = min(before - 1, head.seq) if before else head.seq
        if last < 1:
            return []
        plan = Plan()
        plan.read("LRANGE", keys.OPS_LOG, max(last - limit, 0), last - 1)
        _, (elements,) = self._backend.read(plan)
        return list(read_lines(elements))[::-1]

    def verify(self) -> LogReport:
        """See OpsLog. As far as the head that is found at the beginning."""
        _, head = self._head()
        reached = LogHead()
        while reached.seq < head.seq:
            plan = Plan()
            plan.read("LRANGE", keys.OPS_LOG, reached.seq, min(reached.seq + PAGE, head.seq) - 1)
            _, (elements,) = self._backend.read(plan)
            if not elements:
                return _report(reached, f"{head.seq - reached.seq} lines are missing at the end")
            for element in elements:
                followed = follow(reached, element)
                if isinstance(followed, str):
                    return _report(reached, followed)
                reached = followed
        return _report(reached, "" if reached == head else "the last line is not the one that the head names")

    def _head(self) -> tuple[int, LogHead]:
        plan = Plan()
        plan.read("HMGET", keys.OPS, keys.HEAD_FIELD, keys.SEQ_FIELD)
        now, ((checksum, seq),) = self._backend.read(plan)
        return now, LogHead(int(seq or 0), checksum.decode() if checksum else GENESIS)

    def _write_line(self, plan: Plan, deed: Deed, head: LogHead, now: int) -> None:
        after, element = seal_line(deed, head, now)
        plan.expect(keys.OPS, keys.HEAD_FIELD, head.checksum if head.seq else "")
        plan.write("RPUSH", keys.OPS_LOG, element)
        plan.write("HSET", keys.OPS, keys.HEAD_FIELD, after.checksum, keys.SEQ_FIELD, after.seq)
        plan.write("HINCRBY", keys.META, "commits", 1)


def _report(reached: LogHead, problem: str) -> LogReport:
    return LogReport(ok=not problem, lines=reached.seq, head=reached.checksum, problem=problem)
