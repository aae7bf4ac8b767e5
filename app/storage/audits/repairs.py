"""What an audit puts right by itself: an index that names what is not there. Records are never touched."""

from app.domain.reservations import HELD
from app.services.faults import StoreRefused
from app.services.verification import Finding, What
from app.storage import codec, keys
from app.storage.audits.state import AuditedStore
from app.storage.plan import Plan

MOST_TABLES = 500
"""Tables that leave their index in one go: about a millisecond, in which the server does nothing else."""


def is_left_over(finding: Finding) -> bool:
    """Whether the index of expiry names a reservation that is not held."""
    return finding.what is What.EXPIRY_DIFFERS and finding.account_id is None and finding.expected is None


def take_out(store: AuditedStore, partition: int, finding: Finding) -> bool:
    """Take a reservation that is not held out of the index of expiry; False where it is held all the same.

    One that has ended is never held again, and one that was made meanwhile is not absent any more.
    """
    reservation_id = finding.where.rpartition(" ")[2]
    key = keys.reservation(partition, reservation_id)
    try:
        reservation = codec.reservation(store.many([key])[0])
    except StoreRefused:
        return False
    plan = Plan()
    if reservation is None:
        plan.expect_absent(key)
    elif reservation.status == HELD:
        return False
    else:
        plan.expect(keys.holds(partition, reservation.account_id), reservation_id, "")
    plan.write("ZREM", keys.reservation_expiry(partition), reservation_id)
    plan.write("HINCRBY", keys.META, "commits", 1)
    return not store.commit(plan)


def take_out_tables(store: AuditedStore, partition: int, empty: list[str]) -> None:
    """Take tables without chips out of their index, some at a time; none where one has chips again.

    Whoever brings chips to a table lists it in the same commit.
    """
    if not empty:
        return
    plan = Plan()
    for table_id in empty[:MOST_TABLES]:
        plan.expect_absent(keys.table(partition, table_id))
    plan.write("SREM", keys.table_ids(partition), *empty[:MOST_TABLES])
    plan.write("HINCRBY", keys.META, "commits", 1)
    store.commit(plan)
