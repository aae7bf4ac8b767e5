"""What an audit can find: the kinds, one finding, and the collection of a whole audit."""

from enum import StrEnum

import msgspec

MOST_FINDINGS = 1_000
"""How many findings are kept; the others are counted."""

Value = int | str | None
"""What was expected or found: a number, a text, or None for nothing."""


class What(StrEnum):
    """What is wrong, gravest first.

    Of a ledger only the first bad entry is reported, and nothing that follows from a finding alone.
    """

    SUPPLY_DIFFERS = "SUPPLY_DIFFERS"
    ENTRY_ALTERED = "ENTRY_ALTERED"
    ENTRY_MISSING = "ENTRY_MISSING"
    ENTRY_OUT_OF_PLACE = "ENTRY_OUT_OF_PLACE"
    ENTRY_UNLINKED = "ENTRY_UNLINKED"
    ENTRY_MISCOUNTED = "ENTRY_MISCOUNTED"
    ENTRY_OVERDRAWN = "ENTRY_OVERDRAWN"
    ACCOUNT_UNREADABLE = "ACCOUNT_UNREADABLE"
    BALANCE_DIFFERS = "BALANCE_DIFFERS"
    HEAD_DIFFERS = "HEAD_DIFFERS"
    TRANSACTION_DIFFERS = "TRANSACTION_DIFFERS"
    TRANSACTION_UNFOUNDED = "TRANSACTION_UNFOUNDED"
    ANSWER_DIFFERS = "ANSWER_DIFFERS"
    RESERVATION_UNREADABLE = "RESERVATION_UNREADABLE"
    HOLD_UNFOUNDED = "HOLD_UNFOUNDED"
    HOLD_DIFFERS = "HOLD_DIFFERS"
    HOLD_MISSING = "HOLD_MISSING"
    RESERVED_DIFFERS = "RESERVED_DIFFERS"
    TOTAL_DIFFERS = "TOTAL_DIFFERS"
    POT_UNREADABLE = "POT_UNREADABLE"
    POT_DIFFERS = "POT_DIFFERS"
    POT_MISSING = "POT_MISSING"
    EXPIRY_DIFFERS = "EXPIRY_DIFFERS"
    INDEX_DIFFERS = "INDEX_DIFFERS"
    POT_STUCK = "POT_STUCK"


_GRAVITY = {what: rank for rank, what in enumerate(What)}


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that is not as it must be.

    `where` is the key of the store, with the field behind a space where the key is a hash; `seq` the first
    bad entry of the account's ledger, where there is one.
    """

    what: What
    where: str
    account_id: str | None = None
    seq: int | None = None
    expected: Value = None
    found: Value = None


CHAIN_BREAKS = frozenset(
    {
        What.ENTRY_ALTERED,
        What.ENTRY_MISSING,
        What.ENTRY_OUT_OF_PLACE,
        What.ENTRY_UNLINKED,
        What.ENTRY_MISCOUNTED,
        What.ENTRY_OVERDRAWN,
        What.HEAD_DIFFERS,
    }
)
"""What says that the chain of an account is not what was written."""


class KeptFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A finding as it is kept. Times are ms since the epoch, by the store's clock.

    It is open while `cleared` is 0: then the passes over everything have not met it any more. `froze`: the
    account was frozen for it; `repaired`: what was wrong was an index, and was put right at once.
    """

    v: int = msgspec.field(default_factory=lambda: 1)
    finding: Finding
    first_seen: int
    last_seen: int
    cleared: int = 0
    froze: bool = False
    repaired: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is to be seen to."""
        return self.cleared == 0


class Findings:
    """Collects findings, one for each place: whatever is found there later follows from the first."""

    def __init__(self) -> None:
        self.omitted = 0
        self._by_place: dict[str, Finding] = {}

    def add(self, finding: Finding | None) -> bool:
        """Take the result of a check; True when it is a finding."""
        if finding is None:
            return False
        if finding.where in self._by_place:
            return True
        if len(self._by_place) < MOST_FINDINGS:
            self._by_place[finding.where] = finding
        else:
            self.omitted += 1
        return True

    def all(self) -> list[Finding]:
        """The findings, gravest first."""
        return sorted(self._by_place.values(), key=lambda each: (_GRAVITY[each.what], each.where))


def differing(
    what: What, where: str, expected: Value, found: Value, account_id: str | None = None
) -> Finding | None:
    """The finding that two values differ which must not."""
    if expected == found:
        return None
    return Finding(what=what, where=where, account_id=account_id, expected=expected, found=found)


def told(finding: Finding) -> str:
    """A finding for people, in two lines."""
    whose = f"account {finding.account_id}, " if finding.account_id else ""
    which = f"entry {finding.seq}, " if finding.seq is not None else ""
    return (
        f"{finding.what} at {finding.where}\n"
        f"  {whose}{which}expected {_value(finding.expected)}, found {_value(finding.found)}"
    )


def _value(value: int | str | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:,}" if isinstance(value, int) else value
