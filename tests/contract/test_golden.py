"""What earlier releases wrote is understood: their messages may still be queued, and their records stay."""

from pathlib import Path

import msgspec
import pytest

from app.domain.commands import KINDS
from app.domain.dead_letters import DeadLetter
from app.services.tracking import Done, Status
from app.storage import codec, keys
from app.storage.auditing import Auditor
from tests.support.carrying import PARTITIONS
from tests.support.golden import carry_out, load, recordings, restore
from tests.support.grounds import read
from tests.support.store import RealStore
from tests.support.workers import a_worker

each_recording = pytest.mark.parametrize("path", recordings(), ids=lambda path: path.stem)


@each_recording
def test_the_messages_of_an_earlier_release_are_carried_out(path: Path, real_store: RealStore) -> None:
    """Workers are rolled out before front ends, so they meet messages of the version before."""
    messages = load(path).messages
    with a_worker(real_store):
        answers = list(carry_out(real_store, messages))
    assert answers == [sent.answers for sent in messages]


@each_recording
def test_the_records_of_an_earlier_release_are_read(path: Path, real_store: RealStore) -> None:
    """
    Given a store as an earlier release has left it
    Expect every chip accounted for, every key with its one outcome, and every dead letter to be legible.
    """
    recorded = load(path)
    restore(real_store, recorded)
    backend = real_store.backend()
    assert Auditor(backend, PARTITIONS).run().findings == []
    with a_worker(real_store):
        answers = list(carry_out(real_store, recorded.messages))
    assert answers == [sent.again for sent in recorded.messages]
    report = Auditor(backend, PARTITIONS).run()
    assert (report.ok, report.accounts) == (True, 4)  # three players and a house
    letters = read(backend, *(("HGETALL", keys.dead_letters(each)) for each in range(PARTITIONS)))
    found = [msgspec.json.decode(raw, type=DeadLetter) for letter in letters for raw in letter[1::2]]
    assert {letter.error for letter in found} == {"undecodable command: unknown envelope version 999"}


@pytest.mark.parametrize("path", [each for each in recordings() if "jobs" in each.stem], ids=str)
def test_the_states_of_an_earlier_release_are_read(path: Path, real_store: RealStore) -> None:
    """A payroll that an earlier release began is shown, and gone on with, by this one."""
    recorded = load(path)
    restore(real_store, recorded)
    with a_worker(real_store):
        list(carry_out(real_store, recorded.messages))
    backend = real_store.backend()
    (command,) = (name for name in recorded.records if ":commands:" in name)
    line, done = read(backend, ("HGET", keys.batch_items(3, "b-1"), "7"), ("HGET", command, keys.DONE))
    assert codec.item_status(line) is Status.APPLIED
    assert msgspec.json.decode(done, type=Done).answer.ok


def test_every_kind_of_command_is_on_record() -> None:
    """A new kind is recorded before it is released: python -m tests.support.golden NAME."""
    payloads = [msgspec.json.decode(sent.payload) for path in recordings() for sent in load(path).messages]
    assert {envelope["kind"] for payload in payloads for envelope in payload["args"][0]} == set(KINDS)
