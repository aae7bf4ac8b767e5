"""The checks of an audit, over records handed to it: ledgers, holds, indexes, pots, totals, the supply.

Pure: reads nothing, repairs nothing. Records that are compared with each other must be of one moment.
"""

from app.services.verification.findings import MOST_FINDINGS, Finding, Findings, Value, What, differing
from app.services.verification.ledgers import (
    Chain,
    check_balance,
    check_head,
    check_held,
    check_hold,
    check_index,
    check_origin,
    check_reserved,
    check_transaction,
)
from app.services.verification.pots import check_chips, check_pot, check_start
from app.services.verification.supply import (
    ACCOUNTS,
    BALANCES,
    ENTRIES,
    HELD_CHIPS,
    HOUSE,
    IN_PLAY,
    IN_POTS,
    OF_LEDGERS,
    TOTALS,
    Report,
    Supply,
    Tally,
    check_supply,
    check_total,
    sum_of,
    supply_of,
)

__all__ = [
    "ACCOUNTS",
    "BALANCES",
    "ENTRIES",
    "HELD_CHIPS",
    "HOUSE",
    "IN_PLAY",
    "IN_POTS",
    "MOST_FINDINGS",
    "OF_LEDGERS",
    "TOTALS",
    "Chain",
    "Finding",
    "Findings",
    "Report",
    "Supply",
    "Tally",
    "Value",
    "What",
    "check_balance",
    "check_chips",
    "check_head",
    "check_held",
    "check_hold",
    "check_index",
    "check_origin",
    "check_pot",
    "check_reserved",
    "check_start",
    "check_supply",
    "check_total",
    "check_transaction",
    "differing",
    "sum_of",
    "supply_of",
]
