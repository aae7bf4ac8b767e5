"""The totals of a store, the supply equation made of them, and the report of a whole audit."""

from collections.abc import Mapping

import msgspec

from app.domain.amounts import CURRENCY
from app.domain.ledger import SOURCES, TransactionType
from app.services.verification.findings import Finding, What, differing

Tally = Mapping[str, int]
"""Sums and counts under the names by which a partition keeps its totals; a missing one is 0."""

ACCOUNTS = "accounts"
ENTRIES = "entries"
BALANCES = f"{CURRENCY}|balances"
HOUSE = f"{CURRENCY}|house"
HELD_CHIPS = f"{CURRENCY}|held"
IN_PLAY = f"{CURRENCY}|inPlay"
IN_POTS = f"{CURRENCY}|inPots"


def sum_of(kind: TransactionType) -> str:
    """The name of the sum of all entries of a type, in signed chips."""
    return f"{CURRENCY}|type|{kind}"


OF_LEDGERS = frozenset({ENTRIES, *map(sum_of, TransactionType)})
"""The totals that are recomputed from ledger entries."""

TOTALS = (ACCOUNTS, BALANCES, HOUSE, HELD_CHIPS, IN_PLAY, IN_POTS, *sorted(OF_LEDGERS))
"""The totals that are recomputed at all."""


def check_total(name: str, tally: Tally, totals: Mapping[str, str], where: str) -> Finding | None:
    """One total of a partition is what its records add up to."""
    return differing(What.TOTAL_DIFFERS, f"{where} {name}", str(tally.get(name, 0)), totals.get(name, "0"))


class Supply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The supply equation (DESIGN 1 and 7), in chips:
    accounts + in play - table deficits + in pots + house = deposits - withdrawals.

    `accounts` are the players', `house` is what the rake has made. `table_deficits` are chips that left
    tables without having been brought there (TABLE_BANK=observe), so that `in_play` counts only what players
    really have on tables. `difference` is left side minus right.
    """

    deposits: int
    withdrawals: int
    accounts: int
    in_play: int
    table_deficits: int
    in_pots: int
    house: int
    difference: int

    @property
    def present(self) -> int:
        """The chips that are there."""
        return self.accounts + self.in_play - self.table_deficits + self.in_pots + self.house


def supply_of(tally: Tally, table_deficits: int) -> Supply:
    """The supply equation with the numbers of a tally of the whole store."""
    deposits = sum(tally.get(sum_of(kind), 0) for kind in SOURCES)
    withdrawals = -tally.get(sum_of(TransactionType.WITHDRAW), 0)
    accounts, house = tally.get(BALANCES, 0), tally.get(HOUSE, 0)
    in_play, in_pots = tally.get(IN_PLAY, 0), tally.get(IN_POTS, 0)
    return Supply(
        deposits=deposits,
        withdrawals=withdrawals,
        accounts=accounts,
        in_play=in_play + table_deficits,
        table_deficits=table_deficits,
        in_pots=in_pots,
        house=house,
        difference=accounts + in_play + in_pots + house - (deposits - withdrawals),
    )


def check_supply(supply: Supply) -> Finding | None:
    """No chip was made or lost."""
    expected = supply.deposits - supply.withdrawals
    return differing(What.SUPPLY_DIFFERS, "the whole store", expected, expected + supply.difference)


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The result of an audit.

    `supply` is recomputed from the records, `totals` the same equation as the store's totals have it;
    `reservations` counts reservation records, ended ones too. `omitted` findings are not in the list.
    """

    ok: bool
    accounts: int
    entries: int
    reservations: int
    supply: Supply
    totals: Supply
    findings: list[Finding]
    omitted: int = 0

    @property
    def first_bad_entry(self) -> Finding | None:
        """The gravest finding that names an entry."""
        return next((each for each in self.findings if each.seq is not None), None)
