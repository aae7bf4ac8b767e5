"""What the audits have seen, in a few numbers: for metrics, alerts and the command line."""

from typing import Protocol

import msgspec

from app.storage import keys
from app.storage.backend import Reply
from app.storage.plan import Plan

OF_THE_STORE = (
    *("checked", "lastFull", "driftChips", "oldestMessage", "deadLetters", "chipsAtStake", "findings"),
)
OF_A_PARTITION = (
    *("checked", "lastFull", "entries", "findings", "chainBreaks", "stuckPots", "tableDeficits"),
)


class Reads(Protocol):
    """Where the numbers are read."""

    def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        """The server's time (ms) and the replies to the plan's reads, all of one moment."""
        ...


class AuditSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The audits at one moment. Times are ms since the epoch, 0 for never; `now` is by the store's clock.

    `checked` is when the last of the partitions was checked for what is new, `last_full` when the oldest
    complete full pass began. `findings` and `chain_breaks` are open ones; a stuck pot is not among them.
    `oldest_message` arrived then in a queue of commands. Sums are chips.
    """

    now: int
    checked: int
    last_full: int
    entries: int
    findings: int
    chain_breaks: int
    drift_chips: int
    stuck_pots: int
    table_deficits: int
    oldest_message: int
    dead_letters: int
    chips_at_stake: int


def read_summary(records: Reads, partitions: int) -> AuditSummary:
    """Read what the audits have left. Raises StoreUnavailable or StoreRefused."""
    plan = Plan()
    plan.read("HMGET", keys.AUDIT, *OF_THE_STORE)
    for partition in range(partitions):
        plan.read("HMGET", keys.audit(partition), *OF_A_PARTITION)
    now, (whole, *replies) = records.read(plan)
    store = _numbers(OF_THE_STORE, whole)
    parts = [_numbers(OF_A_PARTITION, reply) for reply in replies]
    both = [store, *parts]
    return AuditSummary(
        now=now,
        checked=min(each["checked"] for each in both),
        last_full=min(each["lastFull"] for each in both),
        entries=sum(each["entries"] for each in parts),
        findings=sum(each["findings"] for each in both),
        chain_breaks=sum(each["chainBreaks"] for each in parts),
        drift_chips=store["driftChips"],
        stuck_pots=sum(each["stuckPots"] for each in parts),
        table_deficits=sum(each["tableDeficits"] for each in parts),
        oldest_message=store["oldestMessage"],
        dead_letters=store["deadLetters"],
        chips_at_stake=store["chipsAtStake"],
    )


def _numbers(names: tuple[str, ...], values: list[bytes | None]) -> dict[str, int]:
    return {name: int(value or 0) for name, value in zip(names, values, strict=True)}


def read_deficits(records: Reads, partitions: int) -> dict[str, int]:
    """The chips that tables have given without having had them, by table, the largest of each partition."""
    plan = Plan()
    for partition in range(partitions):
        plan.read("HGET", keys.audit(partition), "deficits")
    found = [msgspec.json.decode(raw, type=dict[str, int]) for raw in records.read(plan)[1] if raw]
    return {table_id: chips for each in found for table_id, chips in each.items()}
