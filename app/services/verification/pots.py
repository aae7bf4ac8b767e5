"""The checks of pots: each adds up, and is listed where it is looked for."""

from app.domain.pots import ACTIVE, SETTLED, Pot
from app.services.verification.findings import Finding, Value, What, differing


def check_pot(pot: Pot, where: str) -> Finding | None:
    """A pot's record adds up: its seats, its entries, and what was paid out of it."""
    put_in = sum(each.amount for each in pot.contributions)
    moved = sum(entry.amount for entry in pot.entries)
    paid = sum(result.amount for result in pot.results) + pot.rake_amount
    expected = pot.total if pot.status == SETTLED else 0
    return (
        differing(What.POT_DIFFERS, f"{where} total", put_in, pot.total)
        or differing(What.POT_DIFFERS, f"{where} entries", pot.chips, moved)
        or differing(What.POT_DIFFERS, f"{where} results", expected, paid)
    )


def check_chips(pot: Pot | None, listed: Value, where: str) -> Finding | None:
    """An active pot's chips are listed at its table; those of no other are."""
    chips = pot.chips if pot and pot.status == ACTIVE else None
    return differing(What.POT_MISSING, f"{where} chips", chips, listed)


def check_start(pot: Pot | None, start: Value, where: str) -> Finding | None:
    """An active pot is in the index of active ones, with its start; no other is."""
    begun = pot.created_at if pot and pot.status == ACTIVE else None
    return differing(What.POT_MISSING, f"{where} start", begun, start)
