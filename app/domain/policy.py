"""The settings that the rules depend on, as one immutable value."""

from dataclasses import dataclass, field

from app.domain.rake import RakeRule


@dataclass(slots=True, frozen=True)
class Policy:
    """Times in ms. `enforce_table_bank` refuses chips that were never brought to their table (DESIGN 7).

    `partitions` is how many the store has: ids that a settlement derives say where the winner's account is.
    """

    reservation_timeout_ms: int = 30_000
    refusal_ttl_ms: int = 86_400_000
    enforce_table_bank: bool = False
    rake: RakeRule = field(default_factory=RakeRule)
    partitions: int = 64
