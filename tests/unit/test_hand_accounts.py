"""The hand and commands of many accounts: who is paid counts, not the table or the batch alone."""

from collections.abc import Callable
from itertools import count

import pytest

from app.domain.commands import Command, Part, PayTogether, SettlePot, Winner
from app.domain.identifiers import partition_of
from app.queueing.envelope import encode_message, seal
from app.queueing.hand import Hand
from app.queueing.limits import UNIT_ACCOUNTS
from app.queueing.ownership import Owned
from app.services.queue import Entry, Lane, Lease
from tests.support.carrying import PARTITIONS, id_in

PAID = 9
COMMANDS = 10

Make = Callable[[str], Command]


def settlement(name: str) -> Command:
    winners = tuple(Winner(seat_id=seat, account_id=f"p-{name}-{seat}", amount=1) for seat in range(PAID))
    return SettlePot(table_id=id_in(0), hand_id=name, winners=winners)


def payroll(name: str) -> Command:
    ids = (each for number in count() if partition_of(each := f"p-{name}-{number}", PARTITIONS) == 0)
    parts = tuple(
        Part(line=line, key=f"{name}-{line}", account_id=next(ids), amount=1) for line in range(PAID)
    )
    return PayTogether(batch_id=name, parts=parts)


def message(make: Make, number: int) -> Entry:
    """Commands none of which pays an account that another one pays."""
    envelopes = []
    for each in range(COMMANDS):
        command = make(f"{number}-{each}")
        key = f"k{number}-{each}" if command.keyed else ""
        envelopes.append(seal(command, key=key, command_id="", remaining_ms=0))
    return Entry(f"1000-{number}", encode_message(envelopes, f"m{number}").encode())


@pytest.mark.parametrize("make", [settlement, payroll], ids=lambda make: make.__name__)
def test_a_unit_pays_no_more_accounts_than_one_load_may(make: Make) -> None:
    """Five hundred hands of nine winners each would keep the store, and all who wait for it, for seconds."""
    hand = Hand(PARTITIONS)
    hand.sync({0: Owned(Lease(0, 1, clean=True, last_time=0), 0)})
    hand.take_in({(0, Lane.INTERACTIVE): [message(make, number) for number in range(4)]})
    assert UNIT_ACCOUNTS // (PAID * COMMANDS) == 2
    units = iter(hand.next_unit, None)
    assert [[each.message_id for each in unit.deliveries] for unit in units] == [["m0", "m1"], ["m2", "m3"]]
