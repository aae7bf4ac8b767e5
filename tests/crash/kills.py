"""Killing a process while it is at work, and the evidence of what that hit."""

import os
import signal
from asyncio import sleep
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random

from tests.crash.processes import Kind, pids
from tests.crash.witness import PARTITIONS, POLL_SECONDS, Entry, Witness
from tests.support.load import Asked, Load, all_answered, now_ms
from tests.support.service import RunningService

WORKERS = 2
LEAST_IN_FLIGHT = 32
LEAST_QUEUED = 40
ANSWERED_WITHIN_SECONDS = 20.0


@dataclass(frozen=True)
class Kill:
    """What there was when a process was killed, `at` ms since the epoch.

    `in_flight` are the calls without an answer, `queued` the commands that were in a queue just before, and
    `hit` the partitions that the dead process worked for: those a worker owned, otherwise all.
    """

    kind: Kind
    at: int
    in_flight: frozenset[Asked]
    queued: frozenset[str]
    hit: frozenset[int]

    @cached_property
    def _front_ends(self) -> set[str]:
        return {command_id.partition("-")[0] for command_id in self.queued}

    def was_queued(self, command_id: str) -> bool:
        """True if the command had reached its queue: seen there, or made by the front end that was killed."""
        by_the_dead = self.kind is Kind.FRONT_END and command_id.partition("-")[0] in self._front_ends
        return by_the_dead or command_id in self.queued


@dataclass(frozen=True)
class Evidence:
    """What a kill hit: commands found again and answers replayed, both as the calls they belong to.

    Found again: queued before the kill, carried out after it, by that very command; after the death of a
    worker this was the next owner. Replayed: the attempt that got the answer was sent after the kill, but a
    command from before is what was carried out: its own answer never came through.
    """

    in_flight: int
    found_again: list[Asked]
    replayed: list[Asked]
    first_answer_ms: int | None

    def __str__(self) -> str:
        return (
            f"{self.in_flight} calls in flight, {len(self.found_again)} commands found again, the first "
            f"answered after {self.first_answer_ms} ms, {len(self.replayed)} answers replayed"
        )


async def work_in_hand(load: Load, witness: Witness) -> frozenset[str]:
    """Wait until enough calls are in flight and enough commands are queued; those commands."""
    while True:
        if len(load.in_flight) >= LEAST_IN_FLIGHT:
            queued = await witness.queued()
            if len(queued) >= LEAST_QUEUED and len(load.in_flight) >= LEAST_IN_FLIGHT:
                return queued
        await sleep(POLL_SECONDS)


async def kill_one(service: RunningService, kind: Kind, load: Load, witness: Witness, rng: Random) -> Kill:
    """Kill a process of that kind at work; return when the calls in flight are answered and all is owned."""
    before = await witness.shared_by(WORKERS)
    pid = rng.choice(pids(service, kind))
    queued = await work_in_hand(load, witness)
    in_flight = frozenset(load.in_flight)
    os.kill(pid, signal.SIGKILL)
    at = now_ms()
    await all_answered(in_flight, ANSWERED_WITHIN_SECONDS)
    if kind is not Kind.WORKER:
        return Kill(kind, at, in_flight, queued, frozenset(range(PARTITIONS)))
    await witness.left({each.owner for each in before})
    owners = {each.owner for each in await witness.shared_by(WORKERS)}
    orphaned = frozenset(number for number, each in enumerate(before) if each.owner not in owners)
    return Kill(kind, at, in_flight, queued, orphaned)


def evidence(kill: Kill, ledger: Mapping[str, Entry]) -> Evidence:
    """What the ledger, by transaction id, tells of the calls that were in flight."""
    found_again, replayed = [], []
    for asked in kill.in_flight:
        entry = ledger.get(asked.transaction_id)
        if entry is None:
            continue  # not a change of balance
        if kill.was_queued(entry.command_id) and entry.timestamp > kill.at and entry.partition in kill.hit:
            found_again.append(asked)
        from_before = kill.was_queued(entry.command_id) or entry.timestamp <= kill.at
        if from_before and asked.attempts[-1].sent_at > kill.at:
            replayed.append(asked)
    answers = [asked.answered_at - kill.at for asked in found_again]
    return Evidence(len(kill.in_flight), found_again, replayed, min(answers, default=None))


def out_of_order(entries: list[Entry]) -> Iterator[str]:
    """Where an account's ledger does not follow the order in which a front end queued its commands."""
    latest: dict[str, tuple[int, int]] = {}
    for entry in entries:
        front_end, message, index = entry.command_id.split("-")
        place = int(message), int(index)
        if place <= latest.get(front_end, (0, 0)):
            yield f"{entry.account_id}: {entry.command_id} after {latest[front_end]}"
        latest[front_end] = place
