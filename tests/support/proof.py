"""What must hold once a simulated world has come to rest: judged from the records, and all that was told."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from app.domain.dead_letters import DeadLetter
from app.domain.identifiers import partition_of
from app.domain.ledger import unseal
from app.domain.outcomes import Answer, Outcome
from app.services.execution import MAX_TRIES_ALONE
from app.services.queue import Stream
from app.storage import keys
from app.storage.auditing import Auditor
from app.storage.plan import Plan
from tests.support.harness import World, command_ids
from tests.support.playing_fields import PARTITIONS

_decode_answers = msgspec.json.Decoder(list[tuple[str, list[Answer]]]).decode

# What is not kept under a key: the same command may be decided anew.
_PASSING = frozenset(
    {
        Outcome.ACCOUNT_FROZEN,
        Outcome.DROPPED,
        Outcome.EXPIRED,
        Outcome.HOLD_LIMIT,
        Outcome.POT_NOT_FOUND,
        Outcome.SETTLEMENT_MISMATCH,
    }
)


def problems(world: World, accounts: Iterable[str]) -> list[str]:
    """Everything that is wrong; the accounts are all that were asked for."""
    paid_together = set(_paid_together(world))
    return [
        *world.checker.problems(),
        *(
            f"{identity} {problem}"
            for identity, told in _answers_by_key(world).items()
            for problem in unlike_answers(
                told, first_may_lack=world.turns.signals["mark"] > 0 or identity in paid_together
            )
        ),
        *(problem for account_id in accounts for problem in _out_of_order(world, account_id)),
        *_parked_in_haste(world),
        *map(str, Auditor(world.field.records(), PARTITIONS).run().findings),
    ]


def unlike_answers(told: list[tuple[str, Answer]], *, first_may_lack: bool) -> Iterator[str]:
    """What contradicts in all that was told to one key, in pairs with the ids of the commands it was told to.

    A key is decided for exactly one command; the same answer to it may come again, from a worker that saw
    only how the second sending of its commit was refused. The first answer may be missing where a payout was
    paid together with others, and where commands ran alone: their message is answered as a whole, and its
    owner may have been another one by then.
    """
    if len({_without_replay(answer) for _, answer in told}) > 1:
        yield f"was answered {told}"
    decided = {command_id for command_id, answer in told if not answer.replayed}
    of_another = told[0][1].outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    if not of_another and not (len(decided) == 1 or (first_may_lack and not decided)):
        yield f"was decided for {len(decided)} commands: {told}"


def _answers_by_key(world: World) -> dict[str, list[tuple[str, Answer]]]:
    """All answers that keep to a key, each with the id of the command it was given to, repetitions too."""
    given: dict[str, list[tuple[str, Answer]]] = defaultdict(list)
    for entry in world.results():
        for message_id, answers in _decode_answers(entry.payload):
            for envelope, answer in zip(world.queued[message_id].envelopes, answers, strict=True):
                if envelope.get("key") and answer.outcome not in _PASSING:
                    given[_identity(envelope)].append((envelope["commandId"], answer))
    return given


def _paid_together(world: World) -> Iterator[str]:
    """The identities of payouts that were asked for in one command with others."""
    for message in world.queued.values():
        for envelope in message.envelopes:
            for part in envelope.get("payload", {}).get("parts", ()):
                payout = {name: value for name, value in part.items() if name not in {"line", "key"}}
                yield _identity({"kind": "Payout", "key": part["key"], "payload": payout})


def _identity(envelope: dict[str, Any]) -> str:
    return json.dumps([envelope["kind"], envelope["key"], envelope["payload"]], sort_keys=True)


def _without_replay(answer: Answer) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(answer, replayed=False))


def _out_of_order(world: World, account_id: str) -> Iterator[str]:
    """A command was applied before one that was queued earlier, or twice."""
    partition = partition_of(account_id, PARTITIONS)
    plan = Plan()
    plan.read("LRANGE", keys.ledger(partition, account_id, 0), 0, -1)
    entries = [unseal(element)[1] for element in world.field.tool.read(plan)[1][0]]
    if len({entry.transaction_id for entry in entries}) < len(entries):
        yield f"{account_id}: a transaction was applied twice"
    streams = {
        command_id: message.stream
        for message in world.queued.values()
        for command_id in command_ids(message.envelopes)
    }
    latest: dict[Stream, int] = defaultdict(lambda: -1)
    for entry in entries:
        command_id = entry.command_id or ""
        stream = streams[command_id]
        later = [place for place in world.arrivals[command_id] if place > latest[stream]]
        if not later:
            yield f"{account_id}: {command_id} was applied out of order"
            return
        latest[stream] = later[0]


def dead_letters(world: World) -> list[DeadLetter]:
    """Everything that is parked."""
    plan = Plan()
    for partition in range(PARTITIONS):
        plan.read("HGETALL", keys.dead_letters(partition))
    pairs = world.field.tool.read(plan)[1]
    return [msgspec.json.decode(raw, type=DeadLetter) for found in pairs for raw in found[1::2]]


def _parked_in_haste(world: World) -> Iterator[str]:
    """A command was parked for the deaths of workers though its partition never had a third owner."""
    for letter in dead_letters(world):
        plan = Plan()
        plan.read("HGET", keys.partition(letter.partition), "epoch")
        (epoch,) = world.field.tool.read(plan)[1]
        if "its worker died" in letter.error and int(epoch) < MAX_TRIES_ALONE:
            yield f"parked under owner {int(epoch)}: {letter}"
