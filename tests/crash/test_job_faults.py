"""Every step of a front end that takes jobs meets every fault: what was taken is done, and done once.

A batch of payouts and a single command, submitted until they are taken; two workers, of which one is killed.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import product

import pytest

from app.domain.batches import Item
from app.domain.commands import Deposit, Payout
from app.domain.identifiers import partition_of
from app.domain.requests import Request
from app.queueing.envelope import tracked_message
from app.services.asynchronous import Submissions
from app.services.batches import BatchView, Counts
from app.services.faults import BalanceFault, StoreUnavailable, Unavailable
from app.services.payouts import Payouts
from app.services.tracking import CommandState, Status
from app.storage import keys
from app.storage.auditing import Auditor
from app.storage.backend import Backend, Reply
from app.storage.batches import StoreBatches
from app.storage.commands import StoreCommands
from app.storage.plan import Plan
from tests.support.alongside import Alongside
from tests.support.faults import FaultPlan, Kind, Line, Step, possible
from tests.support.grounds import read
from tests.support.harness import RESTART_MS, World, world_of
from tests.support.playing_fields import PARTITIONS, Field, TwinField
from tests.support.scene import ALICE, BOB, named
from tests.support.telling import Tell
from tests.support.turns import Process

FRONT_END = "jobs"
ACCOUNTS = [ALICE, BOB, named("dave", 3), named("fay", 0)]
LINES = 100
DUE = {account_id: sum(range(first, LINES + 1, 4)) for first, account_id in enumerate(ACCOUNTS, 1)}
COMMAND = Deposit(account_id=ALICE, amount=1_000)
COMMAND_ID = Request(COMMAND, partition=partition_of(ALICE, PARTITIONS), key="k").record_id
COMMAND_KEY = keys.command(partition_of(ALICE, PARTITIONS), COMMAND_ID)
DISTURBED_AFTER_MS = 60
KINDS = [Kind(FRONT_END, method) for method in ("read", "commit")]


class FaultyConnection:
    """The connection of a front end that takes jobs: its steps take turns and meet faults."""

    def __init__(self, backend: Backend, line: Line) -> None:
        self._backend = Alongside(backend)
        self._line = line

    async def look(self, plan: Plan) -> tuple[int, list[Reply]]:
        try:
            return await self._line.step_async("read", partial(self._backend.look, plan))
        except StoreUnavailable as away:
            raise Unavailable(str(away)) from away

    async def commit(self, plan: Plan) -> list[int]:
        return await self._line.step_async("commit", partial(self._backend.commit, plan))

    async def confirm(self) -> None:
        """There are no replicas."""

    async def close(self) -> None:
        """Closed with the world."""


class Jobs:
    """Submits until it is told that it was taken, through front ends that die and are followed by others."""

    def __init__(self, world: World, field: Field, plan: FaultPlan) -> None:
        self._world = world
        self._field = field
        self._plan = plan

    async def run(self) -> None:
        await asyncio.gather(self._until_taken(_submit_batch), self._until_taken(_submit_command))

    async def _until_taken(self, submit: Callable[[StoreBatches, StoreCommands], Awaitable[None]]) -> None:
        in_doubt = False
        while True:
            process = Process(FRONT_END)
            died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            process.on_crash = partial(died.set_result, None)
            line = Line(self._world.turns, process, FRONT_END, self._plan)
            connection = FaultyConnection(self._field.backend(), line)
            stores = StoreBatches(connection, PARTITIONS), StoreCommands(connection)
            work = asyncio.ensure_future(submit(*stores))
            await asyncio.wait({work, died}, return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                work.cancel()
                in_doubt = True
            else:
                try:
                    return work.result()
                except Unavailable:
                    assert in_doubt or not self._is_queued(), "told that nothing was done"
                except BalanceFault:
                    in_doubt = True
            await asyncio.sleep(RESTART_MS / 1000)

    def _is_queued(self) -> bool:
        (intent,) = read(self._field.tool, ("HGET", COMMAND_KEY, keys.INTENT))
        return intent is not None


async def _submit_batch(batches: StoreBatches, _: StoreCommands) -> None:
    payouts = Payouts(batches, tracked_message, partitions=PARTITIONS, admit=lambda: None)
    with payouts.draft() as draft:
        for line in range(1, LINES + 1):
            draft.add(Item(line, Payout(account_id=ACCOUNTS[(line - 1) % 4], amount=line)))
        draft.finish("b")
        found = await payouts.submit(draft, "b")
    assert found.refusal is None


async def _submit_command(_: StoreBatches, commands: StoreCommands) -> None:
    submissions = Submissions(commands, tracked_message, partitions=PARTITIONS, admit=lambda: None)
    taken = await submissions.submit(COMMAND, "k")
    assert not taken.reused


def test_whatever_becomes_of_a_step_each_job_is_done_once(tell: Tell) -> None:
    """Given both jobs. If a step of their front end meets a fault. Expect the books as without it."""
    field, undisturbed = TwinField(), FaultPlan()
    play(field, undisturbed)
    sys.stdout.write(f"{undisturbed.steps}\n")
    faults = 0
    for kind in KINDS:
        for number, fault in product(range(1, undisturbed.steps[kind] + 1), possible(kind)):
            step = Step(*kind, number)
            plan = FaultPlan({step: fault})
            try:
                play(field, plan)
                assert plan.met == [(step, fault)]
            except BaseException as failure:
                failure.add_note(f"{fault} at {step}")
                raise
            faults += 1
    tell("a fault at every step of taking jobs", {"faults": faults})


@pytest.mark.soak
@pytest.mark.parametrize("field", ["server"], indirect=True)
def test_the_same_on_the_server(field: Field) -> None:
    """Whatever becomes of its writes."""
    undisturbed = FaultPlan()
    play(field, undisturbed)
    kind = KINDS[-1]
    for number, fault in product(range(1, undisturbed.steps[kind] + 1), possible(kind)):
        play(field, FaultPlan({Step(*kind, number): fault}))


def play(field: Field, plan: FaultPlan) -> None:
    """One run under a plan. Whatever is wrong after it fails."""
    with world_of(field, plan) as world:
        jobs = Jobs(world, field, plan)
        world.turns.post(DISTURBED_AFTER_MS, world.kill_worker)
        world.run(jobs.run())
        batch, command = _looked_up(field)
        assert batch is not None
        assert (batch.sent, batch.counts) == (LINES, Counts(applied=LINES))
        assert command is not None
        assert (command.status, command.done and command.done.answer.ok) == (Status.DONE, True)
        assert _balances(field) == DUE | {ALICE: DUE[ALICE] + COMMAND.amount}
        assert Auditor(field.records(), PARTITIONS).run().findings == []


def _looked_up(field: Field) -> tuple[BatchView | None, CommandState | None]:
    """What is told of both, past all faults."""
    connection = Alongside(field.tool)
    with asyncio.Runner() as runner:
        return (
            runner.run(StoreBatches(connection, PARTITIONS).view("b")),
            runner.run(StoreCommands(connection).get(COMMAND_ID)),
        )


def _balances(field: Field) -> dict[str, int]:
    """What each account holds."""
    names = {name: keys.account(partition_of(name, PARTITIONS), name) for name in ACCOUNTS}
    found = read(field.tool, *(("HGET", key, "balance") for key in names.values()))
    return {name: int(balance) for name, balance in zip(names, found, strict=True)}
