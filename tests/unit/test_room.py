"""How many commands may wait in a front end, learnt from how many are answered."""

from app.queueing.limits import WAITING_AT_LEAST
from app.queueing.room import Room

MOST = 4_096


def busy(waiting: int = MOST) -> Room:
    """A room in which so many wait, none of whom has found it empty."""
    room = Room(MOST)
    for _ in range(waiting):
        room.enter()
    room.learn(now=0)
    return room


def answer(room: Room, commands: int) -> None:
    """So many are answered, and others take their places."""
    for _ in range(commands):
        room.leave(answered=True)
        room.enter()


def test_as_many_may_wait_as_are_answered_in_half_a_second() -> None:
    """Given a queue that never was empty. If 2,000 are answered in 2 s. Expect room for 500."""
    room = busy()
    answer(room, 2_000)
    room.learn(now=2)
    assert room.limit == 500
    assert room.full


def test_the_owner_of_a_partition_may_be_away_for_a_while() -> None:
    """Given a queue. If nothing is answered. Expect some room all the same."""
    room = busy()
    room.learn(now=1)
    assert room.limit == WAITING_AT_LEAST


def test_there_is_never_more_room_than_configured() -> None:
    """Given a queue. If more is answered in half a second than may wait. Expect the limit to stay."""
    room = busy()
    answer(room, 3 * MOST)
    room.learn(now=1)
    assert room.limit == MOST


def test_who_gave_up_was_not_answered() -> None:
    """Given a queue. If all who wait give up and others come. Expect nothing to be learnt from them."""
    room = busy()
    for _ in range(2_000):
        room.leave(answered=False)
        room.enter()
    room.learn(now=1)
    assert room.limit == WAITING_AT_LEAST


def test_a_pause_shows_that_all_is_well() -> None:
    """Given little room. If the queue was empty once since the last look. Expect room for a burst."""
    room = busy(waiting=300)
    room.learn(now=1)
    assert room.limit < MOST
    for _ in range(300):
        room.leave(answered=True)
    room.learn(now=2)
    assert room.limit == MOST
    assert not room.full


def test_of_what_is_stuck_only_so_much_does_not_count() -> None:
    """Given a queue all of which is stuck. Expect room where it is short, and none where it is long."""
    for waiting, full in ((WAITING_AT_LEAST, False), (2 * WAITING_AT_LEAST, True)):
        room = busy(waiting)
        room.learn(now=1)
        room.stuck = waiting
        assert room.full is full


def test_a_burst_that_has_just_begun_is_no_stall() -> None:
    """Given nothing to do but for the last moment. Expect room for all of the burst."""
    room = busy(waiting=0)
    for _ in range(2 * WAITING_AT_LEAST):
        room.enter()
    room.learn(now=1)
    assert room.limit == MOST
