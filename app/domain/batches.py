"""A batch of payouts before anything is sent: checked whole, line by line, and divided by partition. Pure.

What a batch is follows from its content alone: the same lines make the same batch again.
"""

from base64 import b32encode
from collections import defaultdict
from hashlib import sha256
from typing import NamedTuple

import msgspec

from app.domain.amounts import MAX_CHIPS
from app.domain.commands import Payout
from app.domain.identifiers import MAX_KEY_LENGTH, is_caller_id, partition_of
from app.domain.validation import Malformed, check_command

MAX_ITEMS = 500_000
MAX_LINE = 1_000_000
MAX_PROBLEMS = 100
"""What a caller is told at once; the rest shows when these are mended."""

_encode = msgspec.json.Encoder().encode


class Item(NamedTuple):
    """One payout of a batch. `line` is where it stands in its file; `key` is the caller's own, or ""."""

    line: int
    payout: Payout
    key: str = ""

    def key_in(self, batch_id: str) -> str:
        """The idempotency key it is paid under: `#` is in no batch id, so none is another's."""
        return self.key or f"{batch_id}#{self.line}"


class Problem(NamedTuple):
    """What is wrong with a line: the field, as callers know it, and why. Line 0 stands for the whole."""

    line: int
    field: str
    text: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.field} {self.text}"


class Draft:
    """Takes in the lines in their order, and finds everything that is wrong with them."""

    def __init__(self, partitions: int) -> None:
        self.items: dict[int, list[Item]] = defaultdict(list)
        self.problems: list[Problem] = []
        self.count = 0
        self.total = 0
        self._partitions = partitions
        self._content = sha256()
        self.last_line = 0
        self._own_keys: dict[tuple[str, str], int] = {}

    @property
    def content(self) -> str:
        """SHA-256, hex, over all lines: what tells one file from another."""
        return self._content.hexdigest()

    @property
    def derived_id(self) -> str:
        """The id of a batch that was given none."""
        return f"batch-{b32encode(self._content.digest())[:26].decode().lower()}"

    @property
    def full(self) -> bool:
        """True when so much is wrong that nobody needs to look further."""
        return len(self.problems) >= MAX_PROBLEMS

    def add(self, item: Item) -> None:
        """Take in a line, or note what is wrong with it."""
        if self.full:
            return
        try:
            # Any key will do for a line that has none: its own is made of checked parts.
            check_command(item.payout, item.key or "key")
        except Malformed as malformed:
            self.note(item.line, malformed.field, str(malformed).removeprefix(malformed.field).strip())
            return
        if problem := self._misplaced(item):
            self.note(item.line, *problem)
            return
        self.last_line = item.line
        self.count += 1
        self.total += item.payout.amount
        self._content.update(_encode((item.line, item.payout, item.key)) + b"\n")
        self.items[partition_of(item.payout.account_id, self._partitions)].append(item)

    def note(self, line: int, field: str, text: str) -> None:
        """Something is wrong with that line."""
        if not self.full:
            self.problems.append(Problem(line, _SHOWN.get(field, field), text))

    def finish(self, batch_id: str, *, count: int | None = None, total: int | None = None) -> None:
        """Check the batch as a whole: its id, and what the caller expects it to hold, where that is given."""
        if batch_id and not is_caller_id(batch_id):
            self.note(0, "batchId", "must match [A-Za-z0-9._:@-]{1,128}")
        if not self.count and not self.problems:
            self.note(0, "file", "holds no payouts")
        if self.total > MAX_CHIPS:
            self.note(0, "total", f"is {self.total}, beyond {MAX_CHIPS}")
        if self.problems:
            return
        if count is not None and count != self.count:
            self.note(0, "count", f"should be {count}, and the file holds {self.count} payouts")
        if total is not None and total != self.total:
            self.note(0, "total", f"should be {total}, and the file adds up to {self.total}")

    def _misplaced(self, item: Item) -> tuple[str, str] | None:
        """What is wrong with a line beside others, as field and text."""
        if item.line > MAX_LINE:
            return "line", f"is beyond {MAX_LINE}"
        if item.line <= self.last_line:
            return "line", f"comes after line {self.last_line}"
        if self.count >= MAX_ITEMS:
            return "file", f"holds more than {MAX_ITEMS} payouts"
        if item.key:
            first = self._own_keys.setdefault((item.payout.account_id, item.key), item.line)
            if first != item.line:
                return "key", f"stands on line {first} too, for the same account"
        return None


_SHOWN = {"account_id": "account", "idempotency_key": "key"}
"""Fields as the file names them."""
assert 128 + 1 + len(str(2**63)) <= MAX_KEY_LENGTH  # noqa: S101 - a batch id, a sign and a line make a key
