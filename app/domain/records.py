"""The small records that make a command idempotent: what was applied or answered, and what was refused."""

import msgspec

from app.domain.ledger import VERSION_FIELD
from app.domain.outcomes import Answer


class TransactionRecord(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False
):
    """Where an applied change stands in the ledger. Kept for ever, under the transaction's derived id."""

    v: int = VERSION_FIELD
    account_id: str
    seq: int
    fingerprint: str


class AnswerRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What a contribution or a settlement answered. Kept for ever, under the request's derived id.

    The answer itself is kept, for the pot it came from is not.
    """

    v: int = VERSION_FIELD
    table_id: str
    hand_id: str
    pot_id: str
    fingerprint: str
    answer: Answer


class RefusalRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """An outcome that sticks to its key: a refusal (for 24 hours) or DEAD_LETTERED (until ops clear it)."""

    v: int = VERSION_FIELD
    fingerprint: str
    answer: Answer
