"""The book of findings: what is found is written down, its account is frozen, and what is gone is marked.

Nothing is ever struck out. Freezing compares the account's revision, so it overwrites no change; an account
is frozen only for what was just seen, never for what the book says.
"""

import logging
import re
from collections.abc import Iterable

import msgspec

from app.domain.accounts import FROZEN
from app.domain.identifiers import partition_of
from app.services.faults import StoreRefused
from app.services.verification import CHAIN_BREAKS, Finding, KeptFinding, What
from app.storage import keys
from app.storage.audits.state import AuditedStore
from app.storage.plan import Plan

MOST_KEPT = 1_000
"""Findings of a partition in the book; more are told in the log alone."""
TRIES = 100
"""Commits of one finding: somebody else may change the account each time, but not for ever."""

NOTICES = frozenset({What.POT_STUCK})
"""What may be right, and is for somebody to look at."""

_PARTITION = re.compile(r"\{([0-9]{3})\}", re.ASCII)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeptFinding).decode
_log = logging.getLogger(__name__)


class FindingsBook:
    """Writes down findings of a store with so many partitions."""

    def __init__(self, store: AuditedStore, partitions: int) -> None:
        self._store = store
        self._partitions = partitions

    def report(self, findings: Iterable[Finding], *, spare: frozenset[str] = frozenset()) -> None:
        """Write down what was found, and freeze the accounts, but for those to spare.

        Those were frozen already when they were looked at: who has been freed since is looked at again.
        """
        for finding in findings:
            self._report(finding, may_freeze=finding.account_id not in spare)

    def repaired(self, finding: Finding) -> None:
        """Write down what was put right as soon as it was found."""
        self._write(finding, None, repaired=True)

    def read(self, partition: int | None) -> list[KeptFinding]:
        """The findings in a partition, or those that concern the whole store."""
        plan = Plan()
        plan.read("HVALS", keys.findings(partition))
        return [kept_finding(raw) for raw in self._store.read(plan)[1][0]]

    def clear(self, partition: int | None, before: int, notices_before: int) -> list[KeptFinding]:
        """Mark the findings that were seen last before these times; all those still open."""
        still_open = []
        for kept in self.read(partition):
            if kept.is_open and kept.last_seen < (notices_before if is_notice(kept) else before):
                self._clear(kept)
            elif kept.is_open:
                still_open.append(kept)
        return still_open

    def _clear(self, kept: KeptFinding) -> None:
        key, place = keys.findings(partition_of_place(kept.finding.where)), kept.finding.where
        plan = Plan()
        plan.read("HGET", key, place)
        now, (raw,) = self._store.read(plan)
        if raw is None or kept_finding(raw) != kept:
            return  # it was seen again
        plan = Plan()
        plan.expect(key, place, raw.decode())
        plan.write("HSET", key, place, _encode(msgspec.structs.replace(kept, cleared=now)).decode())
        plan.write("HINCRBY", keys.META, "commits", 1)
        if not self._store.commit(plan):
            about = {"account": kept.finding.account_id or ""}
            _log.warning("gone: %s at %s", kept.finding.what, place, extra=about)

    def _report(self, finding: Finding, *, may_freeze: bool) -> None:
        account = finding.account_id if may_freeze and finding.what not in NOTICES else None
        self._write(finding, account)

    def _write(self, finding: Finding, account_id: str | None, *, repaired: bool = False) -> None:
        for _ in range(TRIES):
            if self._try_to_write(finding, account_id, repaired=repaired):
                return
        raise StoreRefused(f"{finding.where} changes so often that its finding cannot be written down")

    def _try_to_write(self, finding: Finding, account_id: str | None, *, repaired: bool) -> bool:
        key = keys.findings(partition_of_place(finding.where))
        home = keys.account(partition_of(account_id or "", self._partitions), account_id or "")
        plan = Plan()
        plan.read("HGET", key, finding.where)
        plan.read("HLEN", key)
        plan.read("HMGET", home, "revision", "status")
        now, (raw, kept_count, (revision, status)) = self._store.read(plan)
        freezes = revision is not None and status != FROZEN.encode()
        before = kept_finding(raw) if raw else None
        kept = _entry(before, finding, now, froze=freezes, repaired=repaired)
        plan = Plan()
        if before or kept_count < MOST_KEPT:
            plan.expect(key, finding.where, raw.decode() if raw else "")
            plan.write("HSET", key, finding.where, _encode(kept).decode())
        if freezes:
            plan.expect(home, "revision", revision.decode())
            plan.write("HSET", home, "status", FROZEN, "revision", int(revision) + 1, "updatedAt", now)
        plan.write("HINCRBY", keys.META, "commits", 1)
        if self._store.commit(plan):
            return False
        _tell(kept.finding, is_new=before is None or not before.is_open, froze=freezes, repaired=repaired)
        return True


def kept_finding(raw: bytes) -> KeptFinding:
    """A finding as the book has it; raises StoreRefused where it cannot be read."""
    try:
        return _decode(raw)
    except msgspec.MsgspecError as error:
        raise StoreRefused(f"a finding cannot be read: {error}") from error


def partition_of_place(where: str) -> int | None:
    """The partition in which something was found; None where it concerns the whole store."""
    match = _PARTITION.search(where)
    return int(match[1]) if match else None


def is_chain_break(kept: KeptFinding) -> bool:
    """Whether it says that a ledger is not what was written."""
    return kept.finding.what in CHAIN_BREAKS


def is_notice(kept: KeptFinding) -> bool:
    """Whether it is only to be looked at."""
    return kept.finding.what in NOTICES


def _entry(
    before: KeptFinding | None, finding: Finding, now: int, *, froze: bool, repaired: bool
) -> KeptFinding:
    """What is written down: of several findings at one place the first, or that of the earlier entry."""
    cleared = now if repaired else 0
    if before is None or not before.is_open:
        return KeptFinding(
            finding=finding, first_seen=now, last_seen=now, cleared=cleared, froze=froze, repaired=repaired
        )
    earlier = finding.seq is not None and (before.finding.seq is None or finding.seq < before.finding.seq)
    return msgspec.structs.replace(
        before,
        finding=finding if earlier or finding.what == before.finding.what else before.finding,
        last_seen=now,
        cleared=cleared,
        froze=before.froze or froze,
        repaired=repaired,
    )


def _tell(finding: Finding, *, is_new: bool, froze: bool, repaired: bool) -> None:
    text = f"{finding.what} at {finding.where}: expected {finding.expected}, found {finding.found}"
    about = {"account": finding.account_id or ""}
    if repaired:
        _log.warning("repaired: %s", text, extra=about)
    elif finding.what in NOTICES:
        if is_new:
            _log.warning("%s", text, extra=about)
    elif is_new:
        _log.error("ALARM %s", text, extra=about)
    if froze:
        _log.critical("ALARM account %s is frozen: %s", finding.account_id, text, extra=about)
