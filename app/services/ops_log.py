"""The ops log: what ops did, line by line, in a hash chain of its own. Pure; a port keeps the lines.

A line is `CHECKSUM SPACE JSON`, sealed as ledger entries are (see `app.domain.ledger`). What is a write of
the store has its line in that very commit; what goes through the queue has one before it and one after.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

import msgspec

from app.domain.ledger import GENESIS, RECORD_VERSION, checksum

DONE = "DONE"
QUEUED = "QUEUED"
INTENDED = "INTENDED"
UNKNOWN = "UNKNOWN"
"""No answer came in time: what was asked for may yet be done, and is safe to ask for again."""


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody does: `what` of the ops commands, to which `subjects`, and why; `outcome` so far."""

    who: str
    what: str
    subjects: tuple[str, ...] = ()
    why: str
    outcome: str = DONE


class OpsLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One line of the log. Members stand in alphabetical order (RFC 8785); `at` is ms since the epoch."""

    at: int
    outcome: str
    previous_checksum: str
    seq: int
    subjects: tuple[str, ...] = ()
    v: int
    what: str
    who: str
    why: str


class LogHead(msgspec.Struct, frozen=True):
    """The last line of the log: its place, from 1, and its checksum."""

    seq: int = 0
    checksum: str = GENESIS


class ReadLine(msgspec.Struct, frozen=True):
    """A line with its checksum, which the next one repeats."""

    checksum: str
    line: OpsLine


class LogReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The result of following the chain from its first line to the head; `problem` is "" when all is well."""

    ok: bool
    lines: int
    head: str
    problem: str = ""


class OpsLog(Protocol):
    """Keeps the lines. Raises StoreUnavailable or StoreRefused."""

    def append(self, deed: Deed) -> None:
        """Add a line for what is no write of the store itself."""
        ...

    def lines(self, before: int, limit: int) -> list[ReadLine]:
        """Up to `limit` lines in front of that place (0: the newest), newest first."""
        ...

    def verify(self) -> LogReport:
        """Follow the whole chain."""
        ...


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(OpsLine).decode


def seal_line(deed: Deed, head: LogHead, now: int) -> tuple[LogHead, str]:
    """The log's head after this deed, and the element that says it."""
    line = OpsLine(
        at=now,
        outcome=deed.outcome,
        previous_checksum=head.checksum,
        seq=head.seq + 1,
        subjects=deed.subjects,
        v=RECORD_VERSION,
        what=deed.what,
        who=deed.who,
        why=deed.why,
    )
    canonical = _encode(line)
    digest = checksum(canonical)
    return LogHead(line.seq, digest), f"{digest} {canonical.decode()}"


def read_lines(elements: Iterable[bytes]) -> Iterator[ReadLine]:
    """The lines among stored elements that can be read at all; `follow` says whether they are whole."""
    for element in elements:
        digest, _, canonical = element.partition(b" ")
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield ReadLine(digest.decode(), _decode(canonical))


def follow(head: LogHead, element: bytes) -> LogHead | str:
    """The head behind the next element of the chain; or what is wrong with that."""
    digest, _, canonical = element.partition(b" ")
    place = head.seq + 1
    if checksum(canonical).encode() != digest:
        return f"line {place} was altered: its checksum does not match"
    try:
        line = _decode(canonical)
    except msgspec.MsgspecError as error:
        return f"line {place} cannot be read: {error}"
    if (line.seq, line.previous_checksum) != (place, head.checksum):
        return f"line {place} does not follow the one before it"
    return LogHead(place, digest.decode())
