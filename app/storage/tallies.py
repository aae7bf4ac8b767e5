"""What accounts, their ledgers and their holds add up to: to be compared with the totals of a partition."""

from collections import Counter

from app.domain.identifiers import is_house_id
from app.services.verification import BALANCES, ENTRIES, HELD_CHIPS, HOUSE, OF_LEDGERS, sum_of
from app.storage.pictures import Picture
from app.storage.walking import Walk


def ledger_tally(picture: Picture, walks: list[Walk]) -> Counter[str]:
    """What the accounts add up to. Of an intact ledger its own balance counts, not the account's."""
    tally = Counter({HELD_CHIPS: sum(map(picture.held, picture.accounts))})
    for walk in walks:
        balances = HOUSE if is_house_id(walk.account.account_id) else BALANCES
        tally[balances] += walk.chain.balance if walk.intact else walk.account.balance
        tally[ENTRIES] += walk.places.total()
        for kind, chips in walk.sums.items():
            tally[sum_of(kind)] += chips
    return tally


def doubtful_totals(picture: Picture, walks: list[Walk]) -> set[str]:
    """The totals that cannot be recomputed, since records they are made of are known to be wrong."""
    doubtful: set[str] = set()
    if picture.unreadable:
        doubtful |= {BALANCES, HOUSE, HELD_CHIPS, *OF_LEDGERS}
    if not all(walk.intact for walk in walks):
        doubtful |= OF_LEDGERS
    if any(picture.held(account_id) != account.reserved for account_id, account in picture.accounts.items()):
        doubtful.add(HELD_CHIPS)
    return doubtful
