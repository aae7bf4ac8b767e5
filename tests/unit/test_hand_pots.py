"""The hand and pots: a settlement touches the accounts that it pays, not its table alone."""

from app.domain.commands import SettlePot, Winner
from app.queueing.envelope import encode_message, seal
from app.queueing.hand import Hand
from app.queueing.limits import UNIT_ACCOUNTS
from app.queueing.ownership import Owned
from app.services.queue import Entry, Lane, Lease
from tests.support.carrying import PARTITIONS, id_in

WINNERS = 9
SETTLEMENTS = 10


def message(number: int) -> Entry:
    """Settlements of one table, none of which pays an account that another one pays."""
    envelopes = [
        seal(
            SettlePot(
                table_id=id_in(0),
                hand_id=f"h{number}-{each}",
                winners=tuple(
                    Winner(seat_id=seat, account_id=f"player-{number}-{each}-{seat}", amount=1)
                    for seat in range(WINNERS)
                ),
            ),
            key=f"k{number}-{each}",
            command_id="",
            remaining_ms=0,
        )
        for each in range(SETTLEMENTS)
    ]
    return Entry(f"1000-{number}", encode_message(envelopes, f"m{number}").encode())


def test_a_unit_of_settlements_pays_no_more_accounts_than_one_load_may() -> None:
    """Five hundred hands of nine winners each would keep the store, and all who wait for it, for seconds."""
    hand = Hand(PARTITIONS)
    hand.sync({0: Owned(Lease(0, 1, clean=True, last_time=0), 0)})
    hand.take_in({(0, Lane.INTERACTIVE): [message(number) for number in range(4)]})
    assert UNIT_ACCOUNTS // (WINNERS * SETTLEMENTS) == 2
    units = iter(hand.next_unit, None)
    assert [[each.message_id for each in unit.deliveries] for unit in units] == [["m0", "m1"], ["m2", "m3"]]
