"""The settings that the rules depend on, as one immutable value."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Policy:
    """Times in ms. `enforce_table_bank` refuses chips that were never brought to their table (DESIGN 7)."""

    reservation_timeout_ms: int = 30_000
    refusal_ttl_ms: int = 86_400_000
    enforce_table_bank: bool = False
