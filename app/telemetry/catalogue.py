"""Every metric of the service: its name, kind, labels, unit and meaning. `ops/metrics.md` is made from it.

A name that is not here cannot be counted, and what is here is on the page.
"""

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Described(NamedTuple):
    """One metric. `name` is as it stands on the page; a histogram has _bucket, _sum, _count behind it."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


def _counter(name: str, unit: str, labels: str, meaning: str) -> Described:
    return Described(name, "counter", unit, tuple(labels.split()), meaning)


def _gauge(name: str, unit: str, labels: str, meaning: str) -> Described:
    return Described(name, "gauge", unit, tuple(labels.split()), meaning)


def _seconds(name: str, labels: str, meaning: str) -> Described:
    return Described(name, "histogram", "seconds", tuple(labels.split()), meaning, _FAST)


def _sizes(name: str, unit: str, labels: str, meaning: str) -> Described:
    return Described(name, "histogram", unit, tuple(labels.split()), meaning, _SIZES)


# Counted by each process as it works.
OPERATIONS = _counter(
    "balance_operations_total",
    "commands",
    "operation outcome",
    "Commands answered by a commit; outcome OK, or why it was refused",
)
LATENCY = _seconds(
    "balance_latency_seconds", "operation", "From a front end's taking of a command to its answer"
)
EXPIRED = _counter("reservation_expiry_total", "reservations", "", "Holds ended because their time was over")
FROZEN = _counter(
    "balance_accounts_frozen_total", "accounts", "", "Accounts frozen by workers: their ledger was broken"
)
REPLAYS = _counter(
    "balance_replays_total", "commands", "operation", "Commands answered again with what was done before"
)
COMMITS = _counter(
    "balance_commits_total",
    "commits",
    "result",
    "Commits by result: applied, conflict (a record had changed: done again), fenced (the partition has"
    " another owner), refused, unknown (no reply)",
)
REDELIVERIES = _counter(
    "balance_redeliveries_total", "messages", "", "Messages taken again: after an owner's death or an outage"
)
BUS_REFUSALS = _counter(
    "balance_bus_refusals_total",
    "commands",
    "reason",
    "Commands that a front end gave no answer to: Overloaded and Unavailable were not queued, DeadlinePassed"
    " is not known",
)
STORE_SECONDS = _seconds(
    "balance_store_call_seconds", "call", "Round trips to the store by command or function, but for waits"
)
STORE_ERRORS = _counter(
    "balance_store_errors_total", "calls", "result", "Round trips that failed: refused, or away (no reply)"
)
QUEUE_WAIT = _seconds("balance_queue_wait_seconds", "lane", "From a message's arrival to its commit's load")
UNIT_SECONDS = _seconds("balance_unit_seconds", "", "Carrying out one unit of work")
COMMIT_COMMANDS = _sizes("balance_commit_commands", "commands", "", "Commands answered by one commit")
MESSAGES = _counter("balance_messages_total", "messages", "lane", "Messages whose commands were all answered")
GRPC_SECONDS = _seconds("balance_grpc_request_seconds", "method status", "gRPC calls")
HTTP_SECONDS = _seconds("balance_http_request_seconds", "route status", "HTTP requests")
PROCESSES = _gauge("balance_processes", "processes", "process", "Processes alive that share this page")

COUNTED = (
    OPERATIONS,
    LATENCY,
    EXPIRED,
    FROZEN,
    REPLAYS,
    COMMITS,
    REDELIVERIES,
    BUS_REFUSALS,
    STORE_SECONDS,
    STORE_ERRORS,
    QUEUE_WAIT,
    UNIT_SECONDS,
    COMMIT_COMMANDS,
    MESSAGES,
    GRPC_SECONDS,
    HTTP_SECONDS,
    PROCESSES,
)

# Read from the store when the page is asked for.
STORE_UP = _gauge("balance_store_up", "0 or 1", "", "Whether the store answered; all below are absent if not")
MEMORY = _gauge(
    "balance_store_memory_used_ratio", "share", "", "Used share of the store's memory limit; 0 without limit"
)
CLOCK_OFFSET = _gauge("balance_clock_offset_seconds", "seconds", "", "The store's clock less this machine's")
STORE_COMMITS = _counter("balance_store_commits_total", "commits", "", "The store's own counter of commits")
QUEUE_MESSAGES = _gauge("balance_queue_messages", "messages", "lane", "Messages in the queues")
OLDEST_MESSAGE = _gauge(
    "balance_queue_oldest_message_seconds", "seconds", "lane", "Age of the oldest message in a queue"
)
UNOWNED = _gauge("balance_partitions_unowned", "partitions", "", "Partitions without a live owner")
OWNED = _gauge("balance_partitions_owned", "partitions", "worker", "Partitions of each owner")
EPOCH = _gauge("balance_partition_epoch", "epoch", "partition", "How often the partition has changed owners")
LEADING = _gauge("balance_scheduler_leaders", "schedulers", "", "Schedulers that lead: 1, or 0")
LEADER_EPOCH = _gauge("balance_scheduler_epoch", "epoch", "", "How often the lead has changed")
SLOT_AGE = _gauge(
    "balance_scheduler_slot_age_seconds", "seconds", "task", "Since a job was last due and done"
)
MISSED_SLOTS = _counter("balance_scheduler_missed_slots_total", "slots", "task", "Slots in which nobody led")
DEAD_LETTERS = _gauge("balance_dead_letters", "commands", "", "Parked commands that wait for ops")
DEAD_CHIPS = _gauge("balance_dead_letter_chips", "chips", "", "Chips these commands are about (of 1,000)")
ACCOUNTS = _gauge("balance_accounts", "accounts", "", "Accounts")
ENTRIES = _counter("balance_ledger_entries_total", "entries", "", "Balance changes ever made")
SUPPLY = _gauge("balance_supply_chips", "chips", "", "Deposits less withdrawals: all chips there are")
IN_ACCOUNTS = _gauge("balance_account_chips", "chips", "", "Chips on players' accounts, held ones too")
HELD = _gauge("balance_held_chips", "chips", "", "Chips on accounts that are held for buy-ins")
IN_PLAY = _gauge(
    "balance_in_play_chips", "chips", "", "Chips on tables, less what left tables without having come there"
)
IN_POTS = _gauge("balance_in_pots_chips", "chips", "", "Chips in pots of hands under way")
HOUSE = _gauge("balance_house_chips", "chips", "", "Chips on the house's accounts: rake not yet taken out")
DRIFT = _gauge(
    "balance_supply_drift_chips", "chips", "", "Chips made or lost: anything but 0 is wrong. From the totals"
)
MOVED = _counter(
    "balance_moved_chips_total", "chips", "type", "Chips moved by type: sources, sinks, to and from tables"
)
RESERVATIONS = _gauge("balance_held_reservations", "reservations", "", "Reservations held")
POTS = _gauge("balance_active_pots", "pots", "", "Pots of hands under way")
STOPPED = _gauge(
    "balance_stopped_kinds",
    "kinds",
    "",
    "Kinds of commands that a worker takes no more: too many were faults",
)
PAUSED = _gauge("balance_paused", "0 or 1", "", "Whether ops have paused the service")
FINDINGS = _gauge("balance_audit_findings", "findings", "", "Open findings of the audits: 0 is well")
CHAIN_BREAKS = _gauge("balance_audit_chain_breaks", "findings", "", "Those that are breaks of a hash chain")
AUDIT_DRIFT = _gauge(
    "balance_audit_drift_chips", "chips", "", "Chips made or lost, as the last audit found: 0 is well"
)
CHECK_AGE = _gauge(
    "balance_audit_check_age_seconds", "seconds", "", "Since what is new was checked; +Inf before the first"
)
FULL_AGE = _gauge(
    "balance_audit_full_age_seconds", "seconds", "", "Since all was checked; +Inf before the first time"
)
STUCK_POTS = _gauge("balance_audit_stuck_pots", "pots", "", "Pots whose hand has not ended for too long")
DEFICITS = _gauge(
    "balance_table_deficit_chips", "chips", "", "Chips that left tables without having been brought there"
)

READ = (
    STORE_UP,
    MEMORY,
    CLOCK_OFFSET,
    STORE_COMMITS,
    QUEUE_MESSAGES,
    OLDEST_MESSAGE,
    UNOWNED,
    OWNED,
    EPOCH,
    LEADING,
    LEADER_EPOCH,
    SLOT_AGE,
    MISSED_SLOTS,
    DEAD_LETTERS,
    DEAD_CHIPS,
    ACCOUNTS,
    ENTRIES,
    SUPPLY,
    IN_ACCOUNTS,
    HELD,
    IN_PLAY,
    IN_POTS,
    HOUSE,
    DRIFT,
    MOVED,
    RESERVATIONS,
    POTS,
    STOPPED,
    PAUSED,
    FINDINGS,
    CHAIN_BREAKS,
    AUDIT_DRIFT,
    CHECK_AGE,
    FULL_AGE,
    STUCK_POTS,
    DEFICITS,
)
CATALOGUE = (*COUNTED, *READ)
