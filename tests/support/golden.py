"""Messages and records of a release as they were: recorded once, and understood by every release after it.

python -m tests.support.golden NAME records what this release writes, as tests/contract/golden/NAME.json. A
new format, or a new kind of command, gets a file of its own; the old ones stay as they are.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from app.domain.commands import (
    Adjust,
    CancelPot,
    CashOut,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    ExpireReservation,
    FreezeAccount,
    LeaveTable,
    Part,
    Payout,
    PayTogether,
    RecordContribution,
    Release,
    Reserve,
    SettlePot,
    UnfreezeAccount,
    Winner,
    Withdraw,
)
from app.domain.identifiers import derive_id
from app.domain.outcomes import Answer
from app.queueing.envelope import seal
from app.services.queue import Lane
from app.services.tracking import OWN, Track
from app.storage import keys
from tests.support.carrying import PARTITIONS, Order, id_in
from tests.support.front_ends import LONG_MS, front_end
from tests.support.grounds import RealGround
from tests.support.producer import declare
from tests.support.store import RealStore
from tests.support.waiting import eventually
from tests.support.workers import a_worker

FOLDER = Path(__file__).resolve().parents[1] / "contract" / "golden"
ANNA, BERT, CARL, NOBODY = id_in(1), id_in(2), id_in(3), id_in(0)
TABLE, JOB = "t-9", "job"
DAY = 86_400


class Sent(msgspec.Struct, frozen=True):
    """A message as it stood in a queue, and the answers to its commands: then, and when it came once more."""

    partition: int
    lane: Lane
    reply_to: str
    message_id: str
    payload: str
    answers: list[Answer] = []
    again: list[Answer] = []


class Recorded(msgspec.Struct, frozen=True):
    """What a release wrote: its messages in order, and then its records, by key with their types."""

    messages: list[Sent]
    records: dict[str, tuple[str, Any]]


def recordings() -> list[Path]:
    """The files of all that was recorded so far."""
    return sorted(FOLDER.glob("*.json"))


def load(path: Path) -> Recorded:
    """What was recorded in a file."""
    return msgspec.json.decode(path.read_bytes(), type=Recorded)


def told(store: RealStore, reply_to: str) -> list[tuple[str, list[Answer]]]:
    """Every answer to that name so far, by message; without what the clock, or its entry, says."""
    entries = store.backend().call("XRANGE", keys.results(reply_to), "-", "+")
    decode = msgspec.json.Decoder(list[tuple[str, list[Answer]]]).decode
    return [
        (message_id, [msgspec.structs.replace(answer, timestamp=0, detail="") for answer in answers])
        for _, (_, text) in entries
        for message_id, answers in decode(text)
    ]


def carry_out(store: RealStore, messages: list[Sent]) -> Iterator[list[Answer]]:
    """Queue the messages one after the other, for a worker that runs; the answers to each."""
    backend = store.backend()
    for sent in messages:
        before = len(told(store, sent.reply_to))
        backend.append([((sent.partition, sent.lane), sent.payload)])
        found = eventually(lambda sent=sent, before=before: told(store, sent.reply_to)[before:])  # type: ignore[misc]
        yield found[-1][1]


def restore(store: RealStore, recorded: Recorded) -> None:
    """Put the records in the place of whatever the store holds."""
    call = store.backend().call
    call("FLUSHALL")
    for key, (kind, value) in recorded.records.items():
        match kind:
            case "hash":
                call("HSET", key, *(part for pair in value.items() for part in pair))
            case "zset":
                call("ZADD", key, *(part for member, score in value.items() for part in (score, member)))
            case "string":
                call("SET", key, value)
            case _:
                call({"list": "RPUSH", "set": "SADD"}[kind], key, *value)


def record(store: RealStore) -> Recorded:
    """Have this release's front end, job and worker write all that they can, and note it."""
    ground = RealGround(store)
    with a_worker(store):
        messages = [*_from_a_job(store), *asyncio.run(_from_a_front_end(store))]
        messages = [
            msgspec.structs.replace(sent, answers=dict(told(store, sent.reply_to))[sent.message_id])
            for sent in messages
        ]
    # Not kept: events and queues, which nobody reads for long; and leases, which bind to this day's clock.
    leases = {keys.WORKERS, *map(keys.partition, range(PARTITIONS))}
    dump = ground.dump().items()
    kept = {key: each for key, each in dump if each.type != "stream" and key not in leases}
    with a_worker(store):
        again = list(carry_out(store, messages))
    return Recorded(
        [msgspec.structs.replace(sent, again=answers) for sent, answers in zip(messages, again, strict=True)],
        {key: (each.type, _text(each.value)) for key, each in sorted(kept.items())},
    )


def _orders() -> Iterator[list[Order]]:
    """What the callers of a front end ask for, group after group; each at one moment."""
    bought_in, given_back = (derive_id(1, "Reserve", ANNA, key) for key in ("buy-in", "back"))
    yield [(EnsureAccount(account_id=ANNA, initial_balance=1_000), "")]
    yield [
        (Deposit(account_id=ANNA, amount=50, source="BONUS"), "d1"),
        (Deposit(account_id=ANNA, amount=2**53 - 1), "beyond the range"),
        (Withdraw(account_id=ANNA, amount=30, reason="gewünscht ✓"), "w1"),
        (Withdraw(account_id=ANNA, amount=9_999), "too much"),
        (Reserve(account_id=ANNA, table_id="t-1", amount=200, timeout_seconds=DAY), "buy-in"),
        (Reserve(account_id=ANNA, table_id="t-1", amount=100), "back"),
    ]
    yield [
        (Commit(reservation_id=bought_in), ""),
        (Release(reservation_id=given_back, reason="left"), ""),
        (ExpireReservation(reservation_id=given_back), ""),
        (CashOut(account_id=ANNA, table_id="t-1", amount=250, seat_id=3, hand_id="h-9"), "c1"),
        (Deposit(account_id=ANNA, amount=51, source="BONUS"), "d1"),
        (Commit(reservation_id=given_back), ""),
    ]
    yield [
        (Deposit(account_id=BERT, amount=500), "d1"),
        (Reserve(account_id=BERT, table_id="t-2", amount=400, timeout_seconds=DAY), "held"),
        (Withdraw(account_id=NOBODY, amount=1), "nobody"),
    ]
    yield [
        (_bet("h-1", 1, ANNA, "SMALL_BLIND"), "b1"),
        (_bet("h-1", 2, BERT, "CALL"), "b2"),
        (_bet("h-2", 1, ANNA), "b3"),
        (_bet("h-3", 2, BERT), "b4"),
    ]
    winner = Winner(seat_id=2, account_id=BERT, amount=60)
    yield [
        (SettlePot(table_id=TABLE, hand_id="h-1", winners=(winner,), folded_seat_ids=(1,)), "s1"),
        (SettlePot(table_id=TABLE, hand_id="h-3", winners=(winner,)), "s3"),
        (CancelPot(table_id=TABLE, hand_id="h-2", reason="misdeal"), ""),
    ]
    yield [
        (FreezeAccount(account_id=BERT, reason="looked into"), ""),
        (UnfreezeAccount(account_id=BERT, reason="all is well"), ""),
        (
            Adjust(account_id=BERT, change=-5, corrects=derive_id(2, "Deposit", BERT, "d1"), reason="typo"),
            "a1",
        ),
        (LeaveTable(account_id=ANNA, table_id=TABLE, reason="closed"), "l1"),
    ]


def _bet(hand_id: str, seat_id: int, account_id: str, kind: str = "") -> RecordContribution:
    return RecordContribution(
        table_id=TABLE,
        hand_id=hand_id,
        seat_id=seat_id,
        account_id=account_id,
        amount=30,
        contribution_type=kind,
    )


async def _from_a_front_end(store: RealStore) -> list[Sent]:
    async with front_end(store) as front:
        for orders in _orders():
            asked = (front.bus.execute(command, key=key, timeout_ms=LONG_MS) for command, key in orders)
            await asyncio.gather(*asked)
        return [
            _sent(partition, lane, text, front.bus._front_end)
            for messages in front.log.rounds
            for (partition, lane), text in messages
        ]


def _from_a_job(store: RealStore) -> Iterator[Sent]:
    """Payouts, and a command of a release that is not there yet."""
    actor = declare(store.url, PARTITIONS)
    unknown = {"v": 999, "commandId": "newer-0", "kind": "Deposit", "payload": {}, "replyTo": JOB}
    paid = _sealed(Payout(account_id=CARL, amount=70, reason="first prize"), "p1", "pay-0")
    for envelopes in ([paid], [_sealed(Payout(account_id=CARL, amount=5, type="REFERRAL"), "p2", "pay-1")]):
        message = actor.message_with_options(args=(envelopes,), lane="bulk")
        actor.broker.enqueue(message)
        yield _sent(3, Lane.BULK, message.encode().decode(), JOB)
    message = actor.message_with_options(args=([unknown],), lane="bulk")
    text = message.encode().decode()
    store.backend().append([((3, Lane.BULK), text)])
    yield _sent(3, Lane.BULK, text, JOB)
    line, own = Track(batch_id="b-1", line=7), derive_id(3, "Payout", CARL, "p3")
    for track, command_id in ((line, "b-1#7"), (OWN, own)):
        tracked = [_sealed(Payout(account_id=CARL, amount=9), f"p3{track.line or ''}", command_id, track)]
        message = actor.message_with_options(args=(tracked,), lane="bulk")
        actor.broker.enqueue(message)
        yield _sent(3, Lane.BULK, message.encode().decode(), JOB)
    part = Part(line=8, key="b-2#8", account_id=CARL, amount=4, reason="all or none")
    together = PayTogether(batch_id="b-2", parts=(part,))
    message = actor.message_with_options(
        args=([_sealed(together, "", "b-2", Track(batch_id="b-2"))],), lane="bulk"
    )
    actor.broker.enqueue(message)
    yield _sent(3, Lane.BULK, message.encode().decode(), JOB)
    eventually(lambda: len(told(store, JOB)) == 6)
    actor.broker.close()


def _sealed(command: Command, key: str, command_id: str, track: Track | None = None) -> dict[str, Any]:
    envelope = seal(command, key=key, command_id=command_id, remaining_ms=0, reply_to=JOB, track=track)
    found: dict[str, Any] = msgspec.json.decode(envelope)
    return found


def _sent(partition: int, lane: Lane, text: str, reply_to: str) -> Sent:
    return Sent(partition, lane, reply_to, msgspec.json.decode(text)["message_id"], text)


def _text(value: Any) -> Any:
    """The value of a key, in text: all that is kept is."""
    match value:
        case bytes():
            return value.decode()
        case dict():
            return {name: _text(each) for name, each in value.items()}
        case set():
            return sorted(value)
        case list():
            return list(map(_text, value))
    return value


def main(name: str) -> None:
    """Record this release under a name that is not taken."""
    with TemporaryDirectory() as folder:
        store = RealStore(Path(folder)).start()
        store.empty(PARTITIONS)
        try:
            text = msgspec.json.format(msgspec.json.encode(record(store)), indent=1)
        finally:
            store.stop()
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{name}.json").open("xb") as file:
        file.write(text + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
