"""`balance verify --findings`: what the audits of the service have found, from the book that they keep."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import click
import msgspec

from app.cli.store import NoStoreError
from app.services.faults import BalanceFault
from app.services.verification import KeptFinding, told
from app.storage.auditing import partitions_of
from app.storage.audits.book import FindingsBook, is_notice
from app.storage.audits.summary import AuditSummary, read_deficits, read_summary
from app.storage.backends.valkey import ValkeyBackend

MOST_TABLES = 20


class Book(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The findings, open ones first, and what the audits have seen. Not `ok` while one is open.

    `deficits` are chips that tables have given without having had them, by table; see TABLE_BANK.

    A notice, as a pot that is stuck, is shown with the others; it says nothing of wrong records.
    """

    ok: bool
    summary: AuditSummary
    deficits: dict[str, int]
    findings: list[KeptFinding]


def read_book(url: str) -> Book:
    """What the audits have found; raises NoStoreError."""
    try:
        with closing(ValkeyBackend(url)) as backend:
            partitions = partitions_of(backend)
            book = FindingsBook(backend, partitions)
            kept = [each for place in (None, *range(partitions)) for each in book.read(place)]
            summary = read_summary(backend, partitions)
            deficits = read_deficits(backend, partitions)
    except BalanceFault as fault:
        raise NoStoreError(f"the findings cannot be read: {fault}") from fault
    kept.sort(key=lambda each: (not each.is_open, -each.last_seen, each.finding.where))
    return Book(
        ok=not any(each.is_open and not is_notice(each) for each in kept),
        summary=summary,
        deficits=deficits,
        findings=kept,
    )


def print_book(book: Book) -> None:
    """The same for people."""
    summary = book.summary
    click.echo(f"What is new was verified last at {_time(summary.checked)}.")
    if summary.last_full:
        click.echo(
            f"Everything was verified last in passes that began at {_time(summary.last_full)} or later."
        )
    else:
        click.echo("Not everything has been verified once yet.")
    for kept in book.findings:
        for line in _lines(kept):
            click.echo(line)
    for table_id, chips in sorted(book.deficits.items(), key=lambda each: -each[1])[:MOST_TABLES]:
        click.echo(f"Table {table_id} has given {chips:,} chips that were never brought there.")
    still_open = sum(each.is_open for each in book.findings)
    click.echo(f"{still_open:,} open, {len(book.findings) - still_open:,} gone.")


def _lines(kept: KeptFinding) -> Iterator[str]:
    yield told(kept.finding)
    seen = f"  seen first {_time(kept.first_seen)}, last {_time(kept.last_seen)}"
    if kept.repaired:
        yield f"{seen}; repaired at once"
    elif not kept.is_open:
        yield f"{seen}; gone since {_time(kept.cleared)}"
    elif kept.froze:
        yield f"{seen}; the account was frozen"
    else:
        yield seen


def _time(milliseconds: int) -> str:
    if not milliseconds:
        return "no time yet"
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
