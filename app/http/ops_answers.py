"""What ops get: each answer's schema, as it is published, and beside it what makes the answer."""

from collections.abc import Iterable
from typing import Any

from marshmallow import EXCLUDE, Schema, fields
from msgspec import to_builtins

from app.domain.dead_letters import DeadLetter
from app.domain.outcomes import Answer
from app.services.dead_letters import Cause, Treated
from app.services.operations import ClosingStep
from app.services.ops_log import LogReport, ReadLine
from app.services.overview import AccountLine, AccountPage, Status
from app.services.stops import Stop
from app.services.times import iso_time


class _Answer(Schema):
    class Meta:
        unknown = EXCLUDE  # published: more fields may come


def _text(name: str | None = None, *, required: bool = True) -> fields.String:
    return fields.String(required=required, data_key=name)


def _whole(name: str | None = None) -> fields.Integer:
    return fields.Integer(required=True, data_key=name)


def _time(name: str | None = None, *, required: bool = True) -> fields.String:
    return fields.String(required=required, data_key=name, metadata={"format": "date-time"})


class StatusWorker(_Answer):
    worker = _text()
    partitions = _whole()


class StatusLane(_Answer):
    """`oldestMs` is how long the oldest message waits, in `oldestPartition` (-1: none does)."""

    lane = _text()
    messages = _whole()
    oldest_ms = _whole("oldestMs")
    oldest_partition = _whole("oldestPartition")


class StatusStop(_Answer):
    """A worker that takes no command of a kind, for too many were faults."""

    worker = _text()
    kind = _text()
    faults = _whole()
    of = _whole()
    error = _text()
    at = _time()


class StatusLetters(_Answer):
    count = _whole()
    chips = _whole()
    oldest = _time(required=False)


class StatusPause(_Answer):
    by = _text()
    why = _text()
    at = _time()


class StatusSupply(_Answer):
    """The supply equation by the totals: `difference` is 0 unless a chip was made or lost."""

    deposits = _whole()
    withdrawals = _whole()
    accounts = _whole()
    in_play = _whole("inPlay")
    in_pots = _whole("inPots")
    house = _whole()
    difference = _whole()


class StatusLeader(_Answer):
    name = _text()
    since = _time(required=False)


class OpsStatus(_Answer):
    """`problems` say in words what ops should look at."""

    at = _time()
    problems = fields.List(fields.String(), required=True)
    partitions = _whole()
    workers = fields.List(fields.Nested(StatusWorker), required=True)
    front_ends = fields.List(fields.String(), required=True, data_key="frontEnds")
    unowned = fields.List(fields.Integer(), required=True)
    lanes = fields.List(fields.Nested(StatusLane), required=True)
    leader = fields.Nested(StatusLeader, required=True)
    dead_letters = fields.Nested(StatusLetters, required=True, data_key="deadLetters")
    stops = fields.List(fields.Nested(StatusStop), required=True)
    paused = fields.Nested(StatusPause)
    supply = fields.Nested(StatusSupply, required=True)


def stops(found: Iterable[Stop]) -> list[dict[str, Any]]:
    return [to_builtins(each) | {"at": iso_time(each.at)} for each in found]


def status(found: Status) -> dict[str, Any]:
    shown: dict[str, Any] = to_builtins(found)
    shown["at"] = iso_time(found.at)
    shown["problems"] = found.problems
    shown["stops"] = stops(found.stops)
    shown["supply"].pop("tableDeficits")  # needs a walk over all tables
    _tell_time(shown["leader"], "since")
    _tell_time(shown["deadLetters"], "oldest")
    if found.paused is None:
        del shown["paused"]
    else:
        _tell_time(shown["paused"], "at")
    return shown


class Switched(_Answer):
    """`changed` is false where it was so already."""

    paused = fields.Boolean(required=True)
    changed = fields.Boolean(required=True)
    dry_run = fields.Boolean(required=True, data_key="dryRun")


class Cleared(_Answer):
    stops = fields.List(fields.Nested(StatusStop), required=True)
    dry_run = fields.Boolean(required=True, data_key="dryRun")


class OpsLine(_Answer):
    """A line of the ops log's hash chain; `previousChecksum` is the `checksum` of the line before."""

    seq = _whole()
    at = _time()
    who = _text()
    what = _text()
    subjects = fields.List(fields.String(), required=True)
    why = _text()
    outcome = _text()
    previous_checksum = _text("previousChecksum")
    checksum = _text()


class OpsLog(_Answer):
    lines = fields.List(fields.Nested(OpsLine), required=True)


def ops_log(lines: Iterable[ReadLine]) -> dict[str, Any]:
    return {"lines": [_line(each) for each in lines]}


def _line(read: ReadLine) -> dict[str, Any]:
    line = read.line
    return {
        "seq": line.seq,
        "at": iso_time(line.at),
        "who": line.who,
        "what": line.what,
        "subjects": list(line.subjects),
        "why": line.why,
        "outcome": line.outcome,
        "previousChecksum": line.previous_checksum,
        "checksum": read.checksum,
    }


class OpsLogReport(_Answer):
    """Whether the chain holds from the first line to the head; `problem` says where not."""

    ok = fields.Boolean(required=True)
    lines = _whole()
    head = _text()
    problem = _text()


def log_report(report: LogReport) -> dict[str, Any]:
    shown: dict[str, Any] = to_builtins(report)
    return shown


class ReplayTold(_Answer):
    number = _whole()
    by = _text()
    reason = _text()
    at = _time()
    outcome = _text(required=False)
    error = _text(required=False)
    ended_at = _time("endedAt", required=False)


class ParkedCommand(_Answer):
    """A parked command; `replaying` is the number of the replay that waits in the queue, 0 when none does."""

    dead_letter_id = _text("deadLetterId")
    partition = _whole()
    lane = _text()
    kind = _text()
    key = _text()
    command_id = _text("commandId")
    account_id = _text("accountId")
    table_id = _text("tableId")
    reservation_id = _text("reservationId")
    amount = _whole()
    error = _text()
    attempts = _whole()
    trace = _text()
    arrived_at = _time("arrivedAt")
    parked_at = _time("parkedAt")
    replaying = _whole()
    replays = fields.List(fields.Nested(ReplayTold), required=True)


class DeadLetterDetails(ParkedCommand):
    """A dead letter whole: the envelope as it came, and how it was closed, where it was."""

    raw = _text()
    closed = _text(required=False)
    closed_at = _time("closedAt", required=False)
    closed_by = _text("closedBy", required=False)
    closed_reason = _text("closedReason", required=False)
    new_key = _text("newKey", required=False)
    outcome = _text(required=False)
    transaction_id = _text("transactionId", required=False)


class LetterCause(_Answer):
    """Dead letters of one kind with one error, numbers in it aside."""

    kind = _text()
    error = _text()
    count = _whole()
    chips = _whole()
    oldest = _time()
    newest = _time()
    example = _text()


class DeadLetterPage(_Answer):
    """`total`, `chips` and `causes` are of all that match; `next` begins the next page, or is ""."""

    dead_letters = fields.List(fields.Nested(ParkedCommand), required=True, data_key="deadLetters")
    total = _whole()
    chips = _whole()
    causes = fields.List(fields.Nested(LetterCause), required=True)
    next = _text()


_ALWAYS_TOLD: dict[str, Any] = {
    **dict.fromkeys(("kind", "key", "commandId", "accountId", "tableId", "reservationId", "trace"), ""),
    "amount": 0,
    "replaying": 0,
    "replays": [],
}


def dead_letter(letter: DeadLetter, *, whole: bool = False) -> dict[str, Any]:
    told: dict[str, Any] = {"deadLetterId": "", **_ALWAYS_TOLD} | to_builtins(letter)
    told["replays"] = [to_builtins(each) for each in letter.replays]
    for name in ("v", "entryId", "answer") if whole else ("v", "entryId", "answer", "raw"):
        told.pop(name, None)
    for name in ("arrivedAt", "parkedAt", "closedAt"):
        _tell_time(told, name)
    for replay in told["replays"]:
        _tell_time(replay, "at")
        _tell_time(replay, "endedAt")
    if letter.answer is not None:
        told |= {"outcome": letter.answer.outcome.value, "transactionId": letter.answer.transaction_id}
    return told


def cause(found: Cause) -> dict[str, Any]:
    told: dict[str, Any] = to_builtins(found)
    return told | {"oldest": iso_time(found.oldest), "newest": iso_time(found.newest)}


class TreatedLetter(_Answer):
    """What became of a dead letter, or would."""

    dead_letter_id = _text("deadLetterId")
    result = _text()
    outcome = _text()
    detail = _text()


class TreatedLetters(_Answer):
    results = fields.List(fields.Nested(TreatedLetter), required=True)
    dry_run = fields.Boolean(required=True, data_key="dryRun")


def treated(found: Iterable[Treated], *, dry_run: bool) -> dict[str, Any]:
    plain = {"outcome": "", "detail": ""}
    return {"results": [plain | to_builtins(each) for each in found], "dryRun": dry_run}


class ListedAccount(_Answer):
    account_id = _text("accountId")
    balance = _whole()
    reserved = _whole()
    version = _whole()
    status = _text()


class ListedAccounts(_Answer):
    accounts = fields.List(fields.Nested(ListedAccount), required=True)
    next = _text()


def accounts(page: AccountPage) -> dict[str, Any]:
    shown: dict[str, Any] = to_builtins(page)
    return shown


class HouseAccounts(_Answer):
    """The accounts that take the rake, one for each partition that had some, and what they hold together."""

    accounts = fields.List(fields.Nested(ListedAccount), required=True)
    total = _whole()


def house(found: list[AccountLine]) -> dict[str, Any]:
    return {"accounts": to_builtins(found), "total": sum(each.balance for each in found)}


class Ordered(_Answer):
    """How a command of ops ended, or would; `balance` is the account's then."""

    outcome = _text()
    detail = _text()
    balance = _whole()
    transaction_id = _text("transactionId")
    dry_run = fields.Boolean(required=True, data_key="dryRun")


def ordered(answer: Answer, *, dry_run: bool) -> dict[str, Any]:
    return {
        "outcome": answer.outcome.value,
        "detail": answer.detail,
        "balance": answer.balance,
        "transactionId": answer.transaction_id,
        "dryRun": dry_run,
    }


class ClosedStep(_Answer):
    what = _text()
    subject = _text()
    amount = _whole()
    outcome = _text()
    transaction_id = _text("transactionId")


class ClosedTable(_Answer):
    steps = fields.List(fields.Nested(ClosedStep), required=True)
    dry_run = fields.Boolean(required=True, data_key="dryRun")


def closed_table(steps: list[ClosingStep], *, dry_run: bool) -> dict[str, Any]:
    return {"steps": to_builtins(steps), "dryRun": dry_run}


def _tell_time(shown: dict[str, Any], name: str) -> None:
    """Tell a time in ms as callers see it; 0 is none."""
    if shown.get(name):
        shown[name] = iso_time(shown[name])
    else:
        shown.pop(name, None)
