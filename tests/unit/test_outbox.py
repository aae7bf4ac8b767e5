"""Who is stuck behind a partition that answers nothing, or a lost message, is in nobody else's way."""

import asyncio
from collections.abc import Callable, Iterator
from random import Random

import pytest

from app.domain.commands import Deposit
from app.queueing.envelope import Origin
from app.queueing.limits import WAITING_AT_LEAST
from app.queueing.outbox import Outbox, Sent, Ticket
from app.queueing.room import Room

MOST = 4_096
TicketMaker = Callable[[], Ticket]


@pytest.fixture
def ticket() -> Iterator[TicketMaker]:
    """Makes tickets of callers who wait."""
    loop = asyncio.new_event_loop()
    yield lambda: Ticket(Deposit(account_id="a", amount=1), "k", Origin(), 0.0, loop.create_future())
    loop.close()


def room_of_a_busy_front_end() -> Room:
    """One in which no more may wait than always may."""
    room = Room(MOST)
    room.enter()
    room.learn(now=0)
    room.learn(now=1)
    room.leave(answered=True)
    assert room.limit == WAITING_AT_LEAST
    return room


def send(outbox: Outbox) -> Sent:
    """All that waits goes in one message."""
    sent = Sent(0, list(outbox.waiting), at=0.0)
    outbox.waiting.clear()
    return sent


def test_a_silent_partition_closes_no_other(ticket: TicketMaker) -> None:
    """
    Given as many calls to one partition as may wait, and their message unanswered for too long
    Expect as much room for other partitions as ever.
    """
    room = room_of_a_busy_front_end()
    silent, well = Outbox(room), Outbox(room)
    for _ in range(WAITING_AT_LEAST):
        silent.put(ticket())
    assert well.full
    silent.fall_silent(send(silent))
    assert not well.full


def test_behind_a_silent_partition_only_so_many_wait(ticket: TicketMaker) -> None:
    """They would wait in vain; and all together no more than ever may."""
    room = room_of_a_busy_front_end()
    silent, well = Outbox(room), Outbox(room)
    silent.put(ticket())
    silent.fall_silent(send(silent))
    while not silent.full:
        silent.put(ticket())
    assert len(silent.waiting) == WAITING_AT_LEAST - 1
    assert not well.full
    while not room.crowded:
        room.enter()
    assert well.full


def test_where_all_is_slow_no_more_may_wait_than_else(ticket: TicketMaker) -> None:
    """
    Given a front end none of whose partitions answers in time: a worker that stands still, or too much work
    Expect what looks stuck to count all the same, but for as much as may always wait.
    """
    room = room_of_a_busy_front_end()
    outboxes = [Outbox(room) for _ in range(4)]
    while not all(outbox.full for outbox in outboxes):
        for outbox in outboxes:
            if not outbox.full:
                outbox.put(ticket())
            if not outbox.silent:
                outbox.fall_silent(send(outbox))
    assert room.waiting == WAITING_AT_LEAST
    room.learn(now=2)
    room.learn(now=3)
    assert room.limit == WAITING_AT_LEAST, "it is no pause"
    while not Outbox(room).full:
        room.enter()
    assert room.waiting == 2 * WAITING_AT_LEAST


def test_what_waits_behind_it_counts_again_when_it_answers(ticket: TicketMaker) -> None:
    """It is work then, like any other; what is still in the message that was missed is not."""
    room = room_of_a_busy_front_end()
    outbox = Outbox(room)
    outbox.put(ticket())
    missed = send(outbox)
    outbox.fall_silent(missed)
    for _ in range(10):
        outbox.put(ticket())
    assert room.stuck == 11
    outbox.speak()
    outbox.put(ticket())
    assert room.stuck == 1
    outbox.leave(missed.tickets[0], answered=False)
    assert (room.stuck, room.waiting) == (0, 11)


def test_lost_calls_make_no_front_end_look_busy(ticket: TicketMaker) -> None:
    """Given one that waits for a lost message, and answers what comes. Expect it to have room for a burst."""
    room = room_of_a_busy_front_end()
    outbox = Outbox(room)
    outbox.put(ticket())
    outbox.fall_silent(send(outbox))
    room.learn(now=2)
    room.enter()
    room.leave(answered=True)
    room.learn(now=3)
    assert room.limit == MOST


def test_whoever_comes_and_goes_the_count_is_right(ticket: TicketMaker, seed: int) -> None:
    """In any order of putting, sending, missing, answering and giving up."""
    rng, room = Random(seed), Room(MOST)
    outboxes = [Outbox(room) for _ in range(3)]
    messages: list[tuple[Outbox, Sent]] = []
    waiting: list[tuple[Outbox, Ticket]] = []

    def give_up(outbox: Outbox, ticket: Ticket) -> None:
        ticket.future.cancel()
        outbox.leave(ticket, answered=False)

    for _ in range(2_000):
        outbox = rng.choice(outboxes)
        match rng.randrange(5):
            case 0:
                waiting.append((outbox, ticket()))
                outbox.put(waiting[-1][1])
            case 1:
                messages.append((outbox, send(outbox)))
            case 2 if messages:
                outbox, sent = rng.choice(messages)
                outbox.fall_silent(sent)
            case 3:
                outbox.speak()
            case 4 if waiting:
                give_up(*waiting.pop(rng.randrange(len(waiting))))
        assert room.waiting == len(waiting)
        assert room.stuck == sum(each.stuck for _, each in waiting)
    while waiting:
        give_up(*waiting.pop())
    assert (room.waiting, room.stuck) == (0, 0)
