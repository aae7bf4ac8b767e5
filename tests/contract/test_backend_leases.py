"""Backend.acquire, renew, release and mark: one owner at a time, on the server's clock, told by epochs."""

import threading

import pytest

from app.services.queue import Lease
from app.storage import keys
from app.storage.backend import Backend
from tests.support.grounds import Ground, write

SHORT_MS = 300
LONG_MS = 60_000
ALL = [0, 1, 2, 3]


def take(backend: Backend, worker: str, partitions: list[int], lease_ms: int = LONG_MS) -> dict[int, Lease]:
    """Acquire as many of the partitions as there are to be had, by number."""
    _, leases = backend.acquire(worker, partitions, lease_ms, len(partitions))
    return {lease.partition: lease for lease in leases}


def test_a_partition_that_nobody_had_is_free_and_clean(ground: Ground) -> None:
    """Epochs begin at 1; with the leases comes the server's time."""
    backend = ground.backend()
    before, _ = backend.acquire("nobody", [], LONG_MS, 1)
    now, leases = backend.acquire("anna", [2, 0], LONG_MS, 2)
    assert before <= now <= before + 10_000
    assert leases == [Lease(2, 1, clean=True, last_time=0), Lease(0, 1, clean=True, last_time=0)]


def test_what_somebody_has_is_not_to_be_had(ground: Ground) -> None:
    """Others get what is left, and the epoch of what is taken stays."""
    anna, bert = ground.backend(), ground.backend()
    assert take(anna, "anna", [0, 1]).keys() == {0, 1}
    assert take(bert, "bert", ALL).keys() == {2, 3}
    assert take(bert, "bert", [0, 1]) == {}
    assert anna.renew("anna", {0: 1, 1: 1}, LONG_MS)[0] == []


@pytest.mark.parametrize("most", [0, 1, 3, 9])
def test_no_more_is_taken_than_asked_for(ground: Ground, most: int) -> None:
    """A worker takes its share and leaves the rest to the others; first come in the order it asked."""
    asked = [3, 1, 0, 2]
    _, leases = ground.backend().acquire("anna", asked, LONG_MS, most)
    assert [lease.partition for lease in leases] == asked[:most]


def test_the_epoch_grows_with_each_change_of_owner(ground: Ground) -> None:
    """By release, by lapse, and also when the same worker begins anew: its former self may still commit."""
    backend = ground.backend()
    assert take(backend, "anna", [0])[0].epoch == 1
    assert take(backend, "anna", [0], SHORT_MS)[0].epoch == 2
    ground.pass_time(SHORT_MS)
    assert take(backend, "bert", [0])[0].epoch == 3
    backend.release("bert", {0: 3}, leave=False)
    assert take(backend, "anna", [0])[0].epoch == 4


def test_a_lapsed_lease_is_taken_over_uncleanly(ground: Ground) -> None:
    """Its owner may have died with a command that kills: the next one must be careful."""
    backend = ground.backend()
    take(backend, "anna", [0, 1], SHORT_MS)
    assert take(backend, "bert", [0, 1]) == {}, "not before it has lapsed"
    ground.pass_time(SHORT_MS)
    assert {lease.clean for lease in take(backend, "bert", [0, 1]).values()} == {False}


def test_a_clock_that_is_set_back_keeps_no_dead_owner(ground: Ground) -> None:
    """
    Given leases of before, which end later than any that is taken now
    Expect that they are over when one of now would be, unless their owner renews them.
    """
    backend = ground.backend()
    take(backend, "anna", [0, 1, 2])
    assert take(backend, "bert", [0, 1, 2], SHORT_MS) == {}
    assert backend.renew("anna", {2: 1}, LONG_MS)[0] == []
    ground.pass_time(SHORT_MS)
    assert take(backend, "bert", [0, 1, 2], LONG_MS).keys() == {0, 1}


def test_a_released_partition_is_handed_over_at_once_and_cleanly(ground: Ground) -> None:
    """Nothing is waited for, and nothing needs care."""
    anna, bert = ground.backend(), ground.backend()
    take(anna, "anna", [0, 1])
    anna.release("anna", {0: 1}, leave=False)
    assert take(bert, "bert", [0, 1]) == {0: Lease(0, 2, clean=True, last_time=0)}


def test_the_time_of_the_last_commit_comes_with_the_lease(ground: Ground) -> None:
    """The next owner's clock must not be behind what the former one has written."""
    backend = ground.backend()
    write(backend, ("HSET", keys.partition(1), "last_time", 1_700_000_000_123))
    assert take(backend, "anna", [1])[1].last_time == 1_700_000_000_123


def test_a_renewed_lease_does_not_lapse(ground: Ground) -> None:
    """It is counted from the renewal."""
    anna, bert = ground.backend(), ground.backend()
    take(anna, "anna", [0], SHORT_MS)
    assert anna.renew("anna", {0: 1}, LONG_MS)[0] == []
    ground.pass_time(SHORT_MS)
    assert take(bert, "bert", [0]) == {}


def test_a_lease_that_lapsed_untaken_can_still_be_renewed(ground: Ground) -> None:
    """Nobody else has touched the partition, so its owner may carry on."""
    backend = ground.backend()
    take(backend, "anna", [0], SHORT_MS)
    ground.pass_time(SHORT_MS)
    assert backend.renew("anna", {0: 1}, LONG_MS)[0] == []
    assert take(backend, "bert", [0]) == {}


def test_the_renewal_of_a_former_owner_reports_what_is_lost(ground: Ground) -> None:
    """And only that; what the new owner has is not changed."""
    anna, bert = ground.backend(), ground.backend()
    take(anna, "anna", [0, 1, 2], SHORT_MS)
    ground.pass_time(SHORT_MS)
    taken = take(bert, "bert", [0, 2])
    owned = ground.dump()[keys.partition(0)]
    lost, _ = anna.renew("anna", {0: 1, 1: 1, 2: 1, 3: 1}, LONG_MS)
    assert sorted(lost) == [0, 2, 3], "3 was never anna's"
    assert ground.dump()[keys.partition(0)] == owned
    assert bert.renew("bert", {each: lease.epoch for each, lease in taken.items()}, LONG_MS)[0] == []


def test_a_renewal_with_a_former_epoch_is_lost_even_for_the_same_worker(ground: Ground) -> None:
    """Two lives of one worker are two owners."""
    backend = ground.backend()
    take(backend, "anna", [0])
    take(backend, "anna", [0])
    assert backend.renew("anna", {0: 1}, LONG_MS)[0] == [0]
    assert backend.renew("anna", {0: 2}, LONG_MS)[0] == []


def test_the_release_of_a_former_owner_changes_nothing(ground: Ground) -> None:
    """A worker that was frozen and stops must not hand over what others own."""
    anna, bert = ground.backend(), ground.backend()
    take(anna, "anna", [0], SHORT_MS)
    ground.pass_time(SHORT_MS)
    take(bert, "bert", [0, 1])
    before = ground.dump()
    anna.release("anna", {0: 1, 1: 1, 2: 1}, leave=False)
    bert.release("bert", {0: 1}, leave=False)  # an epoch that was not bert's
    assert ground.dump() == before


def test_the_alive_are_those_who_came_within_their_lease(ground: Ground) -> None:
    """
    Given three workers, one of which has died and one of which signs off
    Expect that the last one counts itself alone.
    """
    backend = ground.backend()
    backend.renew("anna", {}, SHORT_MS)
    take(backend, "bert", [0])
    assert sorted(backend.renew("carl", {}, LONG_MS)[1]) == ["anna", "bert", "carl"]
    ground.pass_time(SHORT_MS)
    assert sorted(backend.renew("carl", {}, LONG_MS)[1]) == ["bert", "carl"]
    backend.release("bert", {}, leave=True)
    assert backend.renew("carl", {}, LONG_MS)[1] == ["carl"]


def test_a_clock_that_is_set_back_keeps_nobody_alive(ground: Ground) -> None:
    """Who came for the last time before that is forgotten when a lease of now is over."""
    backend = ground.backend()
    backend.renew("anna", {}, LONG_MS)
    assert sorted(backend.renew("bert", {}, SHORT_MS)[1]) == ["anna", "bert"]
    ground.pass_time(SHORT_MS)
    assert backend.renew("bert", {}, LONG_MS)[1] == ["bert"]


def test_handing_over_a_surplus_is_not_leaving(ground: Ground) -> None:
    """Who gives one partition away still counts when the shares are reckoned."""
    backend = ground.backend()
    take(backend, "anna", [0, 1])
    backend.release("anna", {1: 1}, leave=False)
    assert backend.renew("anna", {0: 1}, LONG_MS) == ([], ["anna"])


def test_many_who_ask_at_once_get_each_partition_once(ground: Ground) -> None:
    """Eight workers, sixteen partitions, one moment."""
    partitions = list(range(16))
    start = threading.Barrier(8)
    taken: list[int] = []

    def ask(worker: str) -> None:
        backend = ground.backend()
        start.wait()
        taken.extend(lease.partition for lease in backend.acquire(worker, partitions, LONG_MS, 2)[1])

    workers = [threading.Thread(target=ask, args=(f"worker-{number}",)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(taken) == partitions


def place(milliseconds: int, number: int = 0, index: int = 0) -> str:
    """A place in a lane, as text that sorts."""
    return f"{milliseconds:015d}-{number:020d}-{index:05d}"


def test_a_command_is_counted_each_time_it_is_about_to_run(ground: Ground) -> None:
    """Also across owners: that it killed the former one is just what is counted."""
    backend = ground.backend()
    take(backend, "anna", [0], SHORT_MS)
    assert backend.mark(0, 1, "interactive", place(5)) == 1
    assert backend.mark(0, 1, "interactive", place(5)) == 2
    ground.pass_time(SHORT_MS)
    take(backend, "bert", [0])
    assert backend.mark(0, 2, "interactive", place(5)) == 3


def test_the_next_command_begins_at_one_and_a_former_one_is_past(ground: Ground) -> None:
    """Places sort by time, then number, then index in the message: 10 is behind 9."""
    backend = ground.backend()
    take(backend, "anna", [0])
    for later in (place(9), place(9, 9), place(9, 10), place(9, 10, 2), place(9, 10, 10), place(10)):
        assert backend.mark(0, 1, "interactive", later) == 1
    assert backend.mark(0, 1, "interactive", place(9, 10, 9)) == 0
    assert backend.mark(0, 1, "interactive", place(10)) == 2, "a former one has left the mark as it was"


def test_the_lanes_of_a_partition_are_marked_apart(ground: Ground) -> None:
    """Each is a queue of its own."""
    backend = ground.backend()
    take(backend, "anna", [0, 1])
    assert backend.mark(0, 1, "bulk", place(7)) == 1
    assert backend.mark(0, 1, "interactive", place(5)) == 1
    assert backend.mark(1, 1, "interactive", place(5)) == 1
    assert backend.mark(0, 1, "bulk", place(7)) == 2


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_who_does_not_own_the_partition_cannot_mark(ground: Ground, epoch: int) -> None:
    """A former owner must not count a command, nor take back the mark of the present one."""
    backend = ground.backend()
    take(backend, "anna", [0], SHORT_MS)
    ground.pass_time(SHORT_MS)
    take(backend, "bert", [0])
    before = ground.dump()
    assert backend.mark(0, epoch, "interactive", place(5)) == -1
    assert ground.dump() == before


def test_a_partition_that_nobody_ever_had_cannot_be_marked(ground: Ground) -> None:
    assert ground.backend().mark(3, 1, "interactive", place(5)) == -1
    assert ground.dump() == {}
