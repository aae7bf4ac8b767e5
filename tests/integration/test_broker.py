"""StreamsBroker under Dramatiq's own worker and producers, on a real store."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import dramatiq
import msgspec
import pytest
from dramatiq.errors import QueueNotFound

from app.bootstrap import WorkerParts, make_worker, policy
from app.domain.outcomes import Answer
from app.queueing.consumer import StreamsConsumer, UnitProxy
from app.queueing.limits import QUEUE_NAME
from app.services.execution import Execution
from app.services.queue import Lane
from app.services.work import Unit
from app.storage import keys
from app.storage.store import BalanceStore
from tests.support.carrying import PARTITIONS, id_in
from tests.support.grounds import read, write
from tests.support.producer import Envelopes, declare
from tests.support.store import RealStore
from tests.support.waiting import eventually
from tests.support.workers import ROOT, a_worker, owners, settings_for, waiting, working
from workers.actors import declare_actors

ANNA, BERT = id_in(1), id_in(2)

Producer = dramatiq.Actor[[Envelopes], None]


@pytest.fixture
def producer(real_store: RealStore) -> Iterator[Producer]:
    """A plain Dramatiq producer in this process."""
    actor = declare(real_store.url, PARTITIONS)
    yield actor
    actor.broker.close()


def deposit(account_id: str, amount: int, key: str, **more: object) -> dict[str, Any]:
    """An envelope, as a producer without our code would write it."""
    payload = {"accountId": account_id, "amount": amount}
    return {"v": 1, "kind": "Deposit", "key": key, "payload": payload, "replyTo": "the-test"} | more


def answers(store: RealStore, name: str = "the-test") -> list[tuple[str, list[Answer]]]:
    """Every answer to the name so far: message id, and an answer for each command."""
    entries = store.backend().call("XRANGE", keys.results(name), "-", "+")
    decode = msgspec.json.Decoder(list[tuple[str, list[Answer]]]).decode
    return [answer for _, (_, text) in entries for answer in decode(text)]


def balances(store: RealStore, *account_ids: str) -> list[int]:
    call, homes = store.backend().call, {ANNA: 1, BERT: 2}
    return [int(call("HGET", keys.account(homes[each], each), "balance") or 0) for each in account_ids]


# Producers


def test_a_command_from_a_plain_producer_in_another_process_is_answered(real_store: RealStore) -> None:
    """
    Given a program that only knows Dramatiq and this broker
    If it sends two messages by `actor.send`
    Expect each carried out, in order, and answered under the name that it gave.
    """
    messages = [
        [deposit(ANNA, 100, "k1"), deposit(ANNA, 5, "k2")],
        [deposit(ANNA, 7, "k3"), deposit(ANNA, 100, "k1")],
    ]
    command = [sys.executable, "-m", "tests.support.producer", real_store.url, str(PARTITIONS)]
    subprocess.run([*command, *map(json.dumps, messages)], cwd=ROOT, check=True, timeout=30)
    with a_worker(real_store):
        first, second = eventually(lambda: answers(real_store) if len(answers(real_store)) == 2 else None)
    assert [answer.balance for answer in first[1]] == [100, 105]
    assert [answer.balance for answer in second[1]] == [112, 100]
    assert second[1][1].replayed
    assert waiting(real_store.backend(), 1) == 0


def test_a_message_goes_to_the_lane_that_it_names(producer: Producer, real_store: RealStore) -> None:
    """Jobs that nobody waits for name `bulk`; everything else is interactive."""
    producer.send_with_options(args=([deposit(ANNA, 1, "k1")],), lane="bulk")
    producer.send([deposit(BERT, 1, "k1")])
    backend = real_store.backend()
    assert (waiting(backend, 1, Lane.BULK), waiting(backend, 1)) == (1, 0)
    assert (waiting(backend, 2, Lane.BULK), waiting(backend, 2)) == (0, 1)


@pytest.mark.parametrize("delay", [0, 1, 60_000])
def test_nothing_is_delayed(producer: Producer, real_store: RealStore, delay: int) -> None:
    """A delayed message would be held in the memory of one worker, and lost with it."""
    with pytest.raises(ValueError, match="delayed"):
        producer.send_with_options(args=([deposit(ANNA, 1, "k")],), delay=delay)
    assert waiting(real_store.backend(), 1) == 0


@pytest.mark.parametrize(
    "envelopes",
    [
        [deposit(ANNA, 1, "k"), deposit(BERT, 1, "k")],
        [],
        [{"v": 1, "kind": "Commit", "payload": {"reservationId": "no such id"}}],
        [{"v": 2, "kind": "Deposit"}],
        [{"v": 1, "kind": "Steal"}],
        [{"v": 1, "kind": "Deposit", "payload": {"accountId": 5}}],
        ["no envelope"],
    ],
    ids=["two partitions", "nothing", "no partition", "version", "kind", "payload", "text"],
)
def test_a_message_that_belongs_nowhere_is_refused(
    producer: Producer, real_store: RealStore, envelopes: Envelopes
) -> None:
    """The producer learns of it at once, and nothing is queued."""
    with pytest.raises(ValueError, match=r"."):
        producer.send(envelopes)
    backend = real_store.backend()
    assert not any(waiting(backend, each, lane) for each in range(PARTITIONS) for lane in Lane)


def test_there_is_one_queue(producer: Producer) -> None:
    """Another name would be declared, filled, and read by nobody."""
    with pytest.raises(QueueNotFound):
        producer.broker.declare_queue("default")
    with pytest.raises(QueueNotFound):
        producer.broker.consume("default")


# Consumers


@pytest.fixture
def consumer(real_store: RealStore) -> Iterator[StreamsConsumer]:
    """A consumer that owns every partition."""
    parts = make_worker(settings_for(real_store))
    declare_actors(parts.broker, parts.execution)
    consumer = parts.broker.consume(QUEUE_NAME)
    assert isinstance(consumer, StreamsConsumer)
    eventually(lambda: next(consumer) is None and all(owners(real_store.backend())))
    yield consumer
    parts.broker.close()


def take(consumer: StreamsConsumer) -> UnitProxy:
    """The next unit."""
    return eventually(lambda: next(consumer))


@pytest.mark.parametrize("end", ["ack", "nack"])
def test_neither_ack_nor_nack_removes_a_message(
    consumer: StreamsConsumer, producer: Producer, real_store: RealStore, end: str
) -> None:
    """A message leaves its queue in the commit that answers it, and never otherwise."""
    producer.send([deposit(ANNA, 1, "k")])
    getattr(consumer, end)(take(consumer))
    consumer.close()
    assert waiting(real_store.backend(), 1) == 1


def test_what_was_given_back_comes_again_before_what_came_later(
    consumer: StreamsConsumer, producer: Producer
) -> None:
    """In the order of its queue, whatever happened to the first try."""
    sent = [producer.send([deposit(ANNA, 1, "k1")]).message_id]
    consumer.nack(take(consumer))
    sent.append(producer.send([deposit(ANNA, 1, "k2")]).message_id)
    seen: list[str] = []
    while len(seen) < 2:
        unit = take(consumer)
        seen += [delivery.message_id for delivery in unit.unit.deliveries]
        consumer.ack(unit)
    assert seen == sent


def test_an_abandoned_unit_comes_again(consumer: StreamsConsumer, producer: Producer) -> None:
    """The store went away before its commit: Dramatiq takes that for done, the queue does not."""
    message_id = producer.send([deposit(ANNA, 1, "k")]).message_id
    unit = take(consumer)
    unit.unit.abandoned = True
    consumer.ack(unit)
    assert [delivery.message_id for delivery in take(consumer).unit.deliveries] == [message_id]


def test_one_unit_is_in_hand_at_a_time(consumer: StreamsConsumer, producer: Producer) -> None:
    """Whatever prefetch and threads Dramatiq is told: two units could change one account at once."""
    producer.send([deposit(ANNA, 1, "k1")])
    unit = take(consumer)
    producer.send([deposit(BERT, 1, "k2")])
    assert next(consumer) is None
    consumer.ack(unit)
    assert take(consumer).unit.deliveries[0].partition == 2


# The worker


class Stumbling(Execution):
    """Raises, once, what nobody foresaw, after it has committed the first half of the unit."""

    def __init__(self, parts: WorkerParts, store: RealStore) -> None:
        settings = settings_for(store)
        super().__init__(
            BalanceStore(store.backend(), PARTITIONS, settings.idempotency_ttl_ms), policy(settings)
        )
        self.stumbled = threading.Event()

    def run(self, unit: Unit) -> frozenset[int]:
        if self.stumbled.is_set():
            return super().run(unit)
        self.stumbled.set()
        super().run(Unit(unit.deliveries[:1]))
        raise RuntimeError("nobody foresaw this")


def test_an_actor_that_raises_loses_nothing(real_store: RealStore, producer: Producer) -> None:
    """
    If the actor raises in the middle of a unit
    Expect that what was left comes again, in order, without a restart or another owner.
    """
    sent = [producer.send([deposit(ANNA, 1, f"k{number}")]).message_id for number in range(3)]
    parts = make_worker(settings_for(real_store))
    execution = Stumbling(parts, real_store)
    declare_actors(parts.broker, execution)
    with working(parts):
        eventually(execution.stumbled.is_set)
        sent.append(producer.send([deposit(ANNA, 1, "later")]).message_id)
        eventually(lambda: len(answers(real_store)) == 4)
    found = answers(real_store)
    assert [message_id for message_id, _ in found] == sent
    assert [answer.balance for _, each in found for answer in each] == [1, 2, 3, 4]


def test_an_entry_that_nobody_understands_is_parked_and_the_queue_goes_on(
    real_store: RealStore, producer: Producer
) -> None:
    """
    Given garbage of every sort in the queue, in front of a good command
    Expect one dead letter for each, with its text, and the command carried out.
    """
    garbage = [b"", b"\xff\x00", b"{}", b"[" * 9_999, b'{"queue_name":"balance"']
    stranger = json.dumps(
        {
            "queue_name": "balance",
            "actor_name": "other",
            "args": [],
            "kwargs": {},
            "options": {},
            "message_id": "m",
        }
    )
    backend = real_store.backend()
    for payload in [*garbage, stranger.encode()]:
        backend.call("XADD", keys.queue(1, Lane.INTERACTIVE), "*", "m", payload)
    producer.send([deposit(ANNA, 5, "k")])
    with a_worker(real_store):
        eventually(lambda: answers(real_store))
    assert balances(real_store, ANNA) == [5]
    assert waiting(backend, 1) == 0
    (letters,) = read(backend, ("HGETALL", keys.dead_letters(1)))
    found = [msgspec.json.decode(letter) for letter in letters[1::2]]
    assert len(found) == 6
    assert {letter["raw"] for letter in found} >= {"", "hex:ff00", "{}", stranger}
    assert any("unknown actor balance.other" in letter["error"] for letter in found)


def test_a_store_that_forgot_its_functions_is_taught_them_again(
    real_store: RealStore, producer: Producer
) -> None:
    """Somebody flushed them, or put another server in its place: the worker looks again and goes on."""
    with a_worker(real_store):
        producer.send([deposit(ANNA, 1, "k1")])
        eventually(lambda: balances(real_store, ANNA) == [1])
        real_store.backend().call("FUNCTION", "FLUSH")
        producer.send([deposit(ANNA, 1, "k2")])
        eventually(lambda: balances(real_store, ANNA) == [2])
    assert read(real_store.backend(), ("HGETALL", keys.dead_letters(1))) == [[]], "no command is to blame"


def test_a_worker_that_stops_leaves_its_partitions_free_and_clean(real_store: RealStore) -> None:
    """The next owner begins at once, and needs no care."""
    backend = real_store.backend()
    with a_worker(real_store):
        eventually(lambda: all(owners(backend)))
    asked = [("HMGET", keys.partition(each), "owner", "clean") for each in range(PARTITIONS)]
    assert read(backend, *asked) == [[b"", b"1"]] * PARTITIONS
    assert read(backend, ("ZRANGE", keys.WORKERS, 0, -1)) == [[]]


def test_a_worker_takes_over_what_was_written_before_it_started(
    real_store: RealStore, producer: Producer
) -> None:
    """A queue needs no worker to be filled, and the first one reads it from its beginning."""
    for number in range(20):
        producer.send([deposit(ANNA, 1, f"k{number}")])
        producer.send_with_options(args=([deposit(BERT, 1, f"k{number}")],), lane="bulk")
    write(real_store.backend(), ("HSET", keys.partition(1), "epoch", 41))
    with a_worker(real_store):
        eventually(lambda: balances(real_store, ANNA, BERT) == [20, 20])
    assert len(answers(real_store)) == 40
