"""`balance payouts`: pay a file of payouts, see what became of each line, stop one that is under way."""

import asyncio
import csv
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.paying import GaveUpError, Tell, UnfinishedError, paying
from app.cli.target import Target, find_target, target_options
from app.client.gen import balance_pb2 as pb
from app.config import Settings
from app.domain.batches import Draft
from app.services.payout_files import read_file

_NOT_PAID, _COULD_NOT_RUN, _UNFINISHED = 1, 2, 3
_CANCELLED = "BATCH_CANCELLED"
_REFUSALS = {"BATCH_ID_REUSED": "BATCH_ID_REUSED: {} is another file's id; nothing was sent"}
_LINE_SECONDS = 2.0
_COUNTS = ("items", "applied", "replayed", "refused", "parked", "total")
_COLUMNS = ("account", "amount", "key", "type", "reason")


@click.group()
def payouts() -> None:
    """Pay many accounts at once, each line exactly once."""


@payouts.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--batch-id", default="", metavar="ID", help="The batch's id [default: made from the lines].")
@click.option("--count", type=int, help="How many lines it should hold.")
@click.option("--total", type=int, help="How many chips it should pay in all.")
@click.option("--all-or-nothing", is_flag=True, help="Pay every line or none; of one partition, at most 128.")
@click.option("--dry-run", is_flag=True, help="Check everything, pay nothing.")
@click.option("--no-wait", is_flag=True, help="Return when all is queued.")
@click.option("--json", "as_json", is_flag=True, help="Print one object on one line.")
@target_options
def submit(  # noqa: PLR0913 - one for each option
    *,
    file: Path,
    batch_id: str,
    count: int | None,
    total: int | None,
    all_or_nothing: bool,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
    target: str | None,
    token: str | None,
) -> None:
    """Pay each line of FILE once: JSON lines, or CSV with a header.

    Fields: account, amount, and if wanted key, type (PAYOUT, BONUS, REFERRAL) and reason. Nothing is sent
    unless every line is right. Accounts that do not exist are opened.

    After a crash of whatever kind submit the same file again, under the same id: it goes on where it stopped.
    Lines are told by id and line number, or by their own key. Another file under an id is refused.

    Exit code 0 when every line is paid, 1 when some are refused, parked or cancelled, 2 when nothing was
    sent: a line is wrong, the id stands for another file, or the service cannot be reached. 3 when it was
    stopped or gave up: part may be paid; submit the same file again, under the same id.
    """
    draft = Draft(partitions=1)  # the service divides it; here it is only checked
    read_file(file.read_bytes(), draft)
    draft.finish(batch_id, count=count, total=total)
    _refuse_problems(str(problem) for problem in draft.problems)
    header = pb.BatchHeader(
        batch_id=batch_id or draft.derived_id,
        count=draft.count,
        total=draft.total,
        dry_run=dry_run,
        all_or_nothing=all_or_nothing,
    )
    found = find_target(Settings.from_environment(os.environ), target, token)
    with _progress(draft.count) as tell:
        work = _submit(found, draft, header, tell, wait=not no_wait)
        batch = _run(work, pays="" if dry_run else header.batch_id)
    _tell(batch, as_json=as_json)
    if batch.refused or batch.parked:
        click.echo(
            f"balance payouts status {batch.batch_id} --failed FILE writes what was not paid", err=True
        )
    sys.exit(0 if dry_run or _is_well(batch, waited=not no_wait) else _NOT_PAID)


@payouts.command()
@click.argument("batch_id", metavar="ID")
@click.option("--items", type=click.File("w"), metavar="FILE", help="Write what became of each line.")
@click.option("--failed", type=click.File("w"), metavar="FILE", help="Write what was not paid, to submit it.")
@click.option("--json", "as_json", is_flag=True, help="Print one object on one line.")
@target_options
def status(
    *,
    batch_id: str,
    items: TextIO | None,
    failed: TextIO | None,
    as_json: bool,
    target: str | None,
    token: str | None,
) -> None:
    """Say how far a batch is.

    --failed writes the lines that were refused or parked as a file that can be submitted again; each keeps
    its key, so nothing is paid twice, whatever ops do with what is parked. Files are JSON lines, or CSV where
    the name ends so.

    Exit code 1 when some lines were not paid, 2 when there is no such batch or nobody can say.
    """
    found = find_target(Settings.from_environment(os.environ), target, token)
    batch = _run(_status(found, batch_id, items, failed))
    _tell(batch, as_json=as_json)
    sys.exit(_NOT_PAID if batch.refused or batch.parked or batch.cancelled_at else 0)


@payouts.command()
@click.argument("batch_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one object on one line.")
@target_options
def cancel(*, batch_id: str, as_json: bool, target: str | None, token: str | None) -> None:
    """Stop what is not yet sent of a batch. What is queued already is paid, and shown by `status`.

    A cancelled batch stays so; what it did not pay is paid by another one.
    """
    found = find_target(Settings.from_environment(os.environ), target, token)
    _tell(_run(_cancel(found, batch_id)), as_json=as_json)


async def _submit(
    target: Target, draft: Draft, header: pb.BatchHeader, tell: Tell, *, wait: bool
) -> pb.Batch:
    async with paying(target, tell) as talk:
        before = await talk.batch(header.batch_id)
        answer = await talk.submit(draft, header)
        _refuse_problems(f"{problem.field} {problem.message}" for problem in answer.problems)
        if answer.error not in ("", _CANCELLED):
            raise GaveUpError(_REFUSALS.get(answer.error, answer.error).format(header.batch_id))
        if header.dry_run:
            return pb.Batch(batch_id=answer.batch_id, items=draft.count, total=draft.total)
        batch = await talk.settled(header.batch_id) if wait else answer.batch
    if before is not None:  # what was paid before this command began, it has not paid
        batch.applied -= before.applied
        batch.replayed += before.applied
    return batch


async def _status(target: Target, batch_id: str, items: TextIO | None, failed: TextIO | None) -> pb.Batch:
    async with paying(target, lambda _: None) as talk:
        batch = _known(await talk.batch(batch_id), batch_id)
        if items:
            for item in [_result(item) async for item in talk.items(batch_id, failed=False)]:
                items.write(json.dumps(item) + "\n")
        if failed:
            await _write(failed, talk.items(batch_id, failed=True))
    return batch


async def _cancel(target: Target, batch_id: str) -> pb.Batch:
    async with paying(target, lambda _: None) as talk:
        return _known(await talk.cancel(batch_id), batch_id)


def _known(batch: pb.Batch | None, batch_id: str) -> pb.Batch:
    if batch is None:
        raise GaveUpError(f"there is no batch {batch_id}")
    return batch


def _run(work: Coroutine[Any, Any, pb.Batch], *, pays: str = "") -> pb.Batch:
    """What the work comes to, or the end of the command. `pays`: the batch that a stop leaves unfinished."""
    try:
        return asyncio.run(work)
    except GaveUpError as error:
        why, unfinished = str(error), isinstance(error, UnfinishedError)
    except KeyboardInterrupt:
        why, unfinished = "stopped", bool(pays)
    if unfinished:
        why += f"; part of batch {pays} may be paid: submit the same file again, under that id"
    click.echo(f"balance payouts: {why}", err=True)
    sys.exit(_UNFINISHED if unfinished else _COULD_NOT_RUN)


def _refuse_problems(problems: Iterator[str]) -> None:
    """End the command where something is wrong with the file."""
    lines = list(problems)
    for line in lines:
        click.echo(line, err=True)
    if lines:
        click.echo("balance payouts: nothing was sent", err=True)
        sys.exit(_COULD_NOT_RUN)


def _is_well(batch: pb.Batch, *, waited: bool) -> bool:
    paid = batch.applied + batch.replayed
    return not (batch.refused or batch.parked or batch.cancelled_at) and (paid == batch.items or not waited)


def _tell(batch: pb.Batch, *, as_json: bool) -> None:
    counts = {
        name: getattr(batch, name) for name in ("items", "applied", "replayed", "refused", "parked", "total")
    }
    if as_json:
        click.echo(json.dumps({"batchId": batch.batch_id, **counts}))
        return
    for name, value in {"batch": batch.batch_id, **counts, "not sent": batch.items - batch.sent}.items():
        click.echo(f"{name:<10}{value:>14,}" if isinstance(value, int) else f"{name:<10}{value}")
    if batch.cancelled_at:
        click.echo(f"cancelled {batch.cancelled_at}")


def _result(item: pb.BatchItem) -> dict[str, Any]:
    told = {"line": item.line, "status": item.status}
    if item.error:
        told |= {"error": item.error, "account": item.item.account_id, "amount": item.item.amount}
    return told | ({"deadLetterId": item.dead_letter_id} if item.dead_letter_id else {})


async def _write(file: TextIO, items: AsyncIterator[pb.BatchItem]) -> None:
    rows = [_row(item.item) async for item in items]
    if file.name.lower().endswith(".csv"):
        writer = csv.DictWriter(file, _COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _row(item: pb.PayoutItem) -> dict[str, Any]:
    values = (item.account_id, item.amount, item.idempotency_key, item.type, item.reason)
    return {name: value for name, value in zip(_COLUMNS, values, strict=True) if value}


@contextmanager
def _progress(items: int) -> Iterator[Callable[[pb.Batch], None]]:
    """Show how many lines are settled: a bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(items)
        return
    columns = (
        TextColumn("Paying"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("Paying", total=items)
        yield lambda batch: progress.update(bar, completed=batch.settled)


def _lines(items: int) -> Callable[[pb.Batch], None]:
    told_at = time.monotonic()

    def tell(batch: pb.Batch) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > _LINE_SECONDS:
            told_at = time.monotonic()
            click.echo(f"{batch.settled:,} of {items:,} settled", err=True)

    return tell
