"""Processes are killed while they work: no answered change is lost, none is applied twice, order is kept."""

import asyncio
import sys
from dataclasses import dataclass
from random import Random

import pytest

from tests.crash.kills import LEAST_IN_FLIGHT, WORKERS, Evidence, Kill, evidence, kill_one, out_of_order
from tests.crash.processes import Kind
from tests.crash.witness import PARTITIONS, Witness
from tests.support.load import ABANDONED, STALE, Load, load_on
from tests.support.service import RunningService, balance, running_service
from tests.support.telling import Tell

TAKEOVER_MS = 5_000
SOAK = [pytest.mark.soak, pytest.mark.timeout(600), pytest.mark.xdist_group("kills")]
"""One after the other, in one process: each run has enough to do with its own service."""

# How an attempt may end beside its answer. A caller who waits does not notice that a worker died.
FAILURES = {
    Kind.WORKER: {ABANDONED},
    Kind.FRONT_END: {ABANDONED, "UNAVAILABLE"},
    Kind.STORE: {ABANDONED, "UNAVAILABLE", "DEADLINE_EXCEEDED", STALE},
}


@dataclass(frozen=True)
class Run:
    """A load, the kills in it, what each of them hit, and where a ledger is not in the order of the queue."""

    load: Load
    kills: list[Kill]
    hits: list[Evidence]
    disorder: list[str]

    @property
    def slowest_refusal_ms(self) -> int:
        """The longest that somebody waited for UNAVAILABLE who called while the process was down."""
        return max(
            (
                attempt.ended_at - attempt.sent_at
                for attempt in self.load.failures
                if attempt.outcome == "UNAVAILABLE"
                and not any(attempt.sent_at <= kill.at <= attempt.ended_at for kill in self.kills)
            ),
            default=0,
        )

    def counts(self) -> dict[str, int]:
        """What was hit, in short."""
        return {
            "kills": len(self.kills),
            "calls": len(self.load.asked),
            "calls in flight": sum(each.in_flight for each in self.hits),
            "commands found again": sum(len(each.found_again) for each in self.hits),
            "answers replayed": sum(len(each.replayed) for each in self.hits),
            "slowest first answer in ms": max(each.first_answer_ms or 0 for each in self.hits),
            "slowest refusal in ms": self.slowest_refusal_ms,
        }


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize(
    "kills", [3, *(pytest.param(10, marks=SOAK, id=f"10-in-run-{run}") for run in range(1, 11))]
)
def test_a_kill_loses_nothing_and_repeats_nothing(kind: Kind, kills: int, seed: int, tell: Tell) -> None:
    """Given load. If a process is killed at work, again and again. Expect each call to have its one effect.

    A run that hit nothing proves nothing: it must have found queued commands again and replayed answers.
    """
    with running_service(WORKERS=str(WORKERS), PARTITIONS=str(PARTITIONS)) as service:
        run = asyncio.run(_run(service, kind, kills, seed))
        verified = balance(service, "verify", "--json")
    sys.stdout.write(_told(seed, run))
    tell(f"kills of the {kind.name.lower().replace('_', ' ')}", run.counts())

    assert run.load.checker.problems() == []
    assert run.disorder == []
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert {attempt.outcome for attempt in run.load.failures} <= FAILURES[kind]
    assert all(each.in_flight >= LEAST_IN_FLIGHT for each in run.hits)
    assert any(each.found_again for each in run.hits)
    assert any(each.replayed for each in run.hits)
    if kind is Kind.WORKER:
        assert max(each.first_answer_ms or 0 for each in run.hits) <= TAKEOVER_MS


async def _run(service: RunningService, kind: Kind, kills: int, seed: int) -> Run:
    rng = Random(seed)
    async with Witness(service.redis_url) as witness:
        async with load_on(service.grpc, seed) as load:
            killed = [await kill_one(service, kind, load, witness, rng) for _ in range(kills)]
        ledgers = await witness.ledgers({asked.account_id for asked in load.asked})
    by_transaction = {entry.transaction_id: entry for ledger in ledgers for entry in ledger}
    return Run(
        load,
        killed,
        hits=[evidence(kill, by_transaction) for kill in killed],
        disorder=[problem for ledger in ledgers for problem in out_of_order(ledger)],
    )


def _told(seed: int, run: Run) -> str:
    first = f"seed {seed}: {len(run.load.asked)} calls, slowest refusal {run.slowest_refusal_ms} ms"
    return "\n  ".join([first, *map(str, run.hits)]) + "\n"
