"""Reads the lines of a batch of payouts: JSON lines, or CSV with a header. Says what is wrong with each.

Both know the same fields: account, amount, and, where wanted, key, type and reason (or metadata).
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from app.domain.batches import MAX_LINE, Draft, Item
from app.domain.commands import PAYOUT, Payout
from app.domain.validation import Malformed
from app.services.strict_json import parse_object

MAX_LINE_BYTES = 16 * 1024
# Each field, under its own name first, and as the HTTP interface calls it.
_NAMES: Mapping[str, str] = {
    "account": "account",
    "accountId": "account",
    "amount": "amount",
    "key": "key",
    "idempotencyKey": "key",
    "type": "type",
    "reason": "reason",
    "metadata": "metadata",
}
_TOO_LONG = f"is longer than {MAX_LINE_BYTES} bytes"
_DIGITS = re.compile(r"[0-9]{1,16}", re.ASCII)
_FIT_TO_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_BOM = b"\xef\xbb\xbf"


def read_file(content: bytes, draft: Draft) -> None:
    """Put the lines of a file into the draft: JSON lines where it begins with a brace, else CSV."""
    content = content.removeprefix(_BOM)
    if content.lstrip()[:1] == b"{":
        reader = LineReader(draft)
        reader.feed(content)
        reader.end()
    else:
        _read_csv(content, draft)


class LineReader:
    """Takes JSON lines as they come, in pieces of any size, and puts them into the draft."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._line = 0
        self._rest = b""
        self._is_beyond = False  # the line that comes was found to be too long

    def feed(self, piece: bytes) -> None:
        """Read every line that is complete now."""
        if self._draft.full or self._line > MAX_LINE:
            return  # it is wrong already; the rest costs nothing
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > MAX_LINE_BYTES:  # no line any more, and not to be kept until it ends
            self._draft.note(self._line + 1, "line", _TOO_LONG)
            self._is_beyond, self._rest = True, b""

    def end(self) -> None:
        """Read what is left: the last line may lack its end."""
        if self._line > MAX_LINE:
            self._draft.note(0, "file", f"holds more than {MAX_LINE} lines")
        self._take(self._rest)
        self._rest = b""

    def _take(self, raw: bytes) -> None:
        self._line += 1
        text, is_beyond = raw.strip(), self._is_beyond
        self._is_beyond = False
        if text and not is_beyond:
            _add(self._draft, self._line, lambda: _item(self._line, _checked_object(text)))


def _checked_object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_LINE_BYTES:
        raise Malformed("line", _TOO_LONG)
    try:
        return parse_object(raw)
    except Malformed as malformed:
        raise Malformed("line", str(malformed).removeprefix("body ")) from None


def _read_csv(content: bytes, draft: Draft) -> None:
    try:
        lines = content.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        draft.note(0, "file", "is not in UTF-8")
        return
    rows = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        if "account" not in map(_NAMES.get, header) or "amount" not in header:
            draft.note(1, "header", "must name the columns, account and amount among them")
            return
        for number, row in _numbered(rows):
            if any(row):
                _add(draft, number, partial(_csv_item, number, header, row))
    except csv.Error as error:
        draft.note(rows.line_num, "line", f"is not CSV: {error}")


def _numbered(rows: Any) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its last line."""
    for row in rows:
        yield rows.line_num, row


def _csv_item(line: int, header: list[str], row: list[str]) -> Item:
    return _item(line, _fields(header, row))


def _fields(header: list[str], row: list[str]) -> dict[str, Any]:
    """A row as the object that a JSON line would be; an empty field is not there."""
    if len(row) != len(header):
        raise Malformed("line", f"has {len(row)} fields, the header {len(header)}")
    stripped = zip(header, map(str.strip, row), strict=True)
    fields: dict[str, Any] = {name: text for name, text in stripped if text}
    if _DIGITS.fullmatch(amount := fields.get("amount", "")):
        fields["amount"] = int(amount)
    if (metadata := fields.get("metadata", "")).startswith("{"):
        fields["metadata"] = _checked_object(metadata.encode())
    return fields


def _add(draft: Draft, line: int, make: Callable[[], Item]) -> None:
    if draft.full:
        return
    try:
        draft.add(make())
    except Malformed as malformed:
        draft.note(line, malformed.field, str(malformed).removeprefix(malformed.field).strip())


def _item(line: int, fields: Mapping[str, Any]) -> Item:
    """The payout that these fields describe; the domain checks what they hold."""
    known: dict[str, Any] = {}
    for name, value in fields.items():
        field = _NAMES.get(name)
        if field is None:
            raise Malformed(name if _FIT_TO_NAME.fullmatch(name) else "a field", "is not known here")
        if field in known:
            raise Malformed(field, "is there twice")
        known[field] = value
    for name in known.keys() - {"amount", "metadata"}:
        if not isinstance(known[name], str):
            raise Malformed(name, "must be a text")
    payout = Payout(
        account_id=known.get("account", ""),
        amount=known.get("amount"),  # type: ignore[arg-type]  # whatever it is, the domain says
        type=known.get("type") or PAYOUT,
        reason=_reason(known),
    )
    return Item(line, payout, known.get("key", ""))


def _reason(known: Mapping[str, Any]) -> str:
    """The reason, which may also come as metadata: `{"reason": "..."}`, or the text alone."""
    metadata = known.get("metadata", "")
    if isinstance(metadata, dict):
        if metadata.keys() - {"reason"}:
            raise Malformed("metadata", "may hold a reason, and nothing else")
        metadata = metadata.get("reason", "")
    if not isinstance(metadata, str):
        raise Malformed("metadata", "must be an object or a text")
    if metadata and known.get("reason"):
        raise Malformed("reason", "is there twice")
    return metadata or known.get("reason", "")
