"""Every key name, built here and nowhere else. The keyspace is described in functions/balance.lua."""

import re
from functools import cache

META = "balance:meta"
MISSED, MISSING_ALLOWED = "missed", "missingAllowed"
WORKERS = "balance:workers"
FRONT_ENDS = "balance:front-ends"
OPS = "balance:ops"
OPS_LOG = "balance:ops:log"
STOPS = "balance:stops"
SCHEDULER = "balance:scheduler"
AUDIT = "balance:audit"
AUDIT_QUEUE = "balance:audit:queue"

HEAD_FIELD, SEQ_FIELD, PAUSED_FIELD = "head", "seq", "paused"
"""The fields of OPS: checksum and place of the ops log's last line; who paused the service, and why."""

TRANSACTIONS = "balance:transactions:{"
ANSWERS = "balance:transactions:answers:{"
RESERVATIONS = "balance:reservations:{"
TABLES = "balance:tables:{"
POTS = "balance:pots:{"
"""How the names of all records of a kind begin, and of nothing else."""

SEGMENT_LENGTH = 1_024
"""Ledger entries in one list; closed segments can be sealed and moved out one day."""

_RECORD = re.compile(r"[^{]+\{([0-9]{3})\}\|(.+)", re.ASCII | re.DOTALL)


def account(partition: int, account_id: str) -> str:
    return f"balance:accounts:{{{partition:03d}}}|{account_id}"


@cache
def account_ids(partition: int) -> str:
    return f"balance:accounts:ids:{{{partition:03d}}}"


def ledger(partition: int, account_id: str, segment: int) -> str:
    return f"balance:ledger:{{{partition:03d}}}|{account_id}|{segment}"


def segment_of(seq: int) -> int:
    """The segment in which an account's entry `seq` stands."""
    return max(seq, 0) // SEGMENT_LENGTH


def places_of(seq: int) -> tuple[int, int]:
    """First and last index in its segment at which entry `seq` can stand.

    Segment 0 begins with entry 0 or, where there was no initial balance, with entry 1.
    """
    index = seq % SEGMENT_LENGTH
    return (max(index - 1, 0), index) if seq < SEGMENT_LENGTH else (index, index)


@cache
def events(partition: int) -> str:
    return f"balance:ledger:global:{{{partition:03d}}}"


@cache
def readers(partition: int) -> str:
    return f"balance:ledger:readers:{{{partition:03d}}}"


def transaction(partition: int, transaction_id: str) -> str:
    return f"balance:transactions:{{{partition:03d}}}|{transaction_id}"


def transactions_of(partition: int, account_id: str, kind: str) -> str:
    return f"balance:transactions:by-account:{{{partition:03d}}}|{account_id}|{kind}"


def refusal(partition: int, operation: str, aggregate_id: str, hashed_key: str) -> str:
    return f"balance:transactions:idempotency:{{{partition:03d}}}|{operation}|{aggregate_id}|{hashed_key}"


def answer(partition: int, record_id: str) -> str:
    return f"balance:transactions:answers:{{{partition:03d}}}|{record_id}"


def reservation(partition: int, reservation_id: str) -> str:
    return f"balance:reservations:{{{partition:03d}}}|{reservation_id}"


def holds(partition: int, account_id: str) -> str:
    return f"balance:reservations:by-account:{{{partition:03d}}}|{account_id}"


@cache
def reservation_expiry(partition: int) -> str:
    return f"balance:reservations:expiry:{{{partition:03d}}}"


def table(partition: int, table_id: str) -> str:
    return f"balance:tables:{{{partition:03d}}}|{table_id}"


@cache
def table_ids(partition: int) -> str:
    return f"balance:tables:ids:{{{partition:03d}}}"


IN_PLAY = "a|"
IN_POT = "p|"
"""How the fields of a table's hash begin."""


def in_play_field(account_id: str) -> str:
    """The field of a table's hash that counts what the account has in play there."""
    return IN_PLAY + account_id


def pot_field(hand_id: str) -> str:
    """The field of a table's hash that says what lies in the active pot of the hand."""
    return IN_POT + hand_id


def pot(partition: int, table_id: str, hand_id: str) -> str:
    return f"balance:pots:{{{partition:03d}}}|{pot_member(table_id, hand_id)}"


def pot_member(table_id: str, hand_id: str) -> str:
    """A pot in the index of active ones."""
    return f"{table_id}|{hand_id}"


@cache
def active_pots(partition: int) -> str:
    return f"balance:pots:active:{{{partition:03d}}}"


@cache
def totals(partition: int) -> str:
    return f"balance:totals:{{{partition:03d}}}"


@cache
def queue(partition: int, lane: str) -> str:
    return f"balance:queue:{{{partition:03d}}}|{lane}"


def task_queue(stream: tuple[int, str] | None) -> str:
    """Where a task waits: in the queue of its partition, or in that of the auditors."""
    return queue(*stream) if stream else AUDIT_QUEUE


@cache
def dead_letters(partition: int) -> str:
    return f"balance:dead:{{{partition:03d}}}"


def closed_letter(partition: int, dead_letter_id: str) -> str:
    return f"balance:dead:closed:{{{partition:03d}}}|{dead_letter_id}"


def command(partition: int, command_id: str) -> str:
    return f"balance:commands:{{{partition:03d}}}|{command_id}"


INTENT, DONE, PARKED = "intent", "done", "parked"
"""The fields of a command's hash: what was submitted, how it ended, its dead letter."""


def batch_items(partition: int, batch_id: str) -> str:
    """The lines of a batch that are settled, of the accounts of one partition."""
    return f"balance:batches:{{{partition:03d}}}|{batch_id}"


def batch(partition: int, batch_id: str) -> str:
    """What is known of a batch as a whole, in the partition of its own id."""
    return f"balance:batches:manifests:{{{partition:03d}}}|{batch_id}"


SENT = "sent|"
"""How the fields of a batch's hash begin that count what was queued."""


@cache
def sent_field(partition: int) -> str:
    """The field of a batch's hash that counts the items of a partition that were queued."""
    return f"{SENT}{partition:03d}"


def results(front_end: str) -> str:
    return f"balance:results:{front_end}"


@cache
def partition(number: int) -> str:
    return f"balance:partition:{{{number:03d}}}"


@cache
def audit(partition: int) -> str:
    return f"balance:audit:{{{partition:03d}}}"


@cache
def findings(partition: int | None) -> str:
    """The findings in one partition; with None, those that concern the whole store."""
    return "balance:audit:findings" + ("" if partition is None else f":{{{partition:03d}}}")


def trying_field(lane: str) -> str:
    """The field of a partition's hash that names the command being tried alone, and how often it was."""
    return f"trying|{lane}"


def stop_field(worker: str, kind: str) -> str:
    """The field of STOPS for a worker that takes no command of a kind."""
    return f"{worker}|{kind}"


def slot_field(job: str) -> str:
    """The field of the scheduler's hash that holds the last slot of a job (ms)."""
    return f"slot|{job}"


def missed_field(job: str) -> str:
    """The field of the scheduler's hash that counts the slots of a job in which nobody led."""
    return f"missed|{job}"


def place_in(name: str) -> tuple[int, str] | None:
    """Partition and id in the name of a record, `...{NNN}|ID`; None when it is no such name."""
    match = _RECORD.fullmatch(name)
    return (int(match[1]), match[2]) if match else None
