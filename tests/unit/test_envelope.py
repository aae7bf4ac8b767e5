"""Envelope and message: what was sealed is opened the same, and nothing that is queued can raise."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.amounts import MAX_CHIPS
from app.domain.commands import (
    KINDS,
    PAYOUT_PLACES,
    PAYOUT_TYPES,
    CancelPot,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    Part,
    PayTogether,
    TableCommand,
    Winner,
)
from app.domain.identifiers import derive_id, partition_of
from app.domain.validation import MAX_SEAT_ID, MAX_TIMEOUT_SECONDS, check_command
from app.queueing.envelope import Origin, encode_message, open_message, route, route_envelope, seal
from app.queueing.limits import MESSAGE_COMMANDS
from app.services.queue import Entry, Lane
from app.services.work import Delivery

PARTITIONS = 4
ARRIVED_AT = 1_700_000_000_000
ENTRY_ID = f"{ARRIVED_AT}-7"
ANNA = "anna"
HOME = partition_of(ANNA, PARTITIONS)

ids = st.from_regex(r"[A-Za-z0-9._:@-]{1,128}", fullmatch=True)
amounts = st.integers(1, MAX_CHIPS)
printable = st.text(max_size=255).filter(str.isprintable)
keys = st.text(min_size=1, max_size=255).filter(str.isprintable)
reservation_ids = st.builds(derive_id, st.integers(0, PARTITIONS - 1), st.just("Reserve"), ids, keys)
seat_ids = st.integers(0, MAX_SEAT_ID)
winners = st.builds(Winner, seat_id=seat_ids, account_id=ids, amount=amounts)
parts = st.builds(
    Part, line=st.integers(1, 10**6), key=keys, account_id=ids, amount=amounts, reason=printable
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "account_id": ids,
    "table_id": ids,
    "hand_id": st.just("") | ids,
    "reservation_id": reservation_ids,
    "amount": amounts,
    "initial_balance": st.just(0) | amounts,
    "change": amounts | amounts.map(int.__neg__),
    "corrects": st.builds(derive_id, st.integers(0, 999), st.just("Deposit"), ids, keys),
    "seat_id": seat_ids,
    "timeout_seconds": st.integers(0, MAX_TIMEOUT_SECONDS),
    "type": st.sampled_from(sorted(PAYOUT_TYPES)),
    "contribution_type": st.text(max_size=64).filter(str.isprintable),
    "winners": st.lists(winners, min_size=1, max_size=64).map(tuple),
    "payout_to": st.sampled_from(sorted(PAYOUT_PLACES)),
    "folded_seat_ids": st.lists(seat_ids, unique=True, max_size=9).map(tuple),
    "source": printable,
    "reason": printable,
    "batch_id": ids,
    "parts": parts.map(lambda part: (part,)),
}


def part_to(account_id: str) -> Part:
    return Part(line=1, key="k", account_id=account_id, amount=1)


def commands_of(kind: type[Command]) -> st.SearchStrategy[Command]:
    """Well-formed commands of a kind; a field without values here fails the test that covers them all."""
    values = VALUES | {"hand_id": ids} if issubclass(kind, TableCommand) else VALUES
    return st.builds(kind, **{name: values[name] for name in kind.__struct_fields__})


def opened(payload: str | bytes, partition: int = HOME) -> Delivery:
    """The delivery of one stream entry."""
    raw = payload if isinstance(payload, bytes) else payload.encode()
    return open_message(
        Entry(ENTRY_ID, raw), partition=partition, partitions=PARTITIONS, lane=Lane.BULK, epoch=3
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_every_command_arrives_as_it_was_sent(kind: type[Command], data: st.DataObject) -> None:
    """Kind, fields, key, ids, reply address and deadline; the clock is that of the entry's arrival."""
    command = data.draw(commands_of(kind))
    key = data.draw(keys) if kind.keyed else ""
    remaining_ms = data.draw(st.integers(0, 10**9))
    check_command(command, key, by_ops=True)
    envelope = seal(
        command,
        key=key,
        command_id="c-1",
        remaining_ms=remaining_ms,
        reply_to="front",
        origin=Origin("t", "r"),
    )
    partition = route(command, PARTITIONS)
    assert partition is not None
    assert route_envelope(bytes(envelope), PARTITIONS) == partition
    delivery = opened(encode_message([envelope], "m-1"), partition)
    assert (delivery.partition, delivery.epoch, delivery.lane) == (partition, 3, Lane.BULK)
    assert (delivery.entry_id, delivery.message_id, delivery.reply_to) == (ENTRY_ID, "m-1", "front")
    assert delivery.arrived_at == ARRIVED_AT
    (work,) = delivery.works
    request = work.request
    assert request is not None
    assert work.parking_reason == ""
    assert (request.command, request.key, request.command_id) == (command, key, "c-1")
    assert (request.partition, request.arrived_at) == (partition, ARRIVED_AT)
    assert request.deadline_at == (ARRIVED_AT + remaining_ms if remaining_ms else 0)
    assert (work.trace, work.request_id) == ("t", "r")
    assert work.raw.encode() == bytes(envelope)


def test_the_commands_of_a_message_keep_their_order() -> None:
    """And know their place in it, up to the largest message there is."""
    envelopes = [deposit(amount=amount) for amount in range(1, MESSAGE_COMMANDS + 1)]
    works = opened(encode_message(envelopes, "m")).works
    amounts = [work.request and work.request.command.amount for work in works]  # type: ignore[attr-defined]
    assert amounts == list(range(1, MESSAGE_COMMANDS + 1))
    assert [work.index for work in works] == list(range(MESSAGE_COMMANDS))


def deposit(amount: int = 5, reply_to: str = "front") -> msgspec.Raw:
    """The envelope of a deposit to Anna."""
    command = Deposit(account_id=ANNA, amount=amount)
    return seal(command, key=f"k{amount}", command_id="c", remaining_ms=0, reply_to=reply_to)


def envelope(**changed: object) -> bytes:
    """The same with some members changed, or left out where they are None."""
    members: dict[str, object] = {
        "v": 1,
        "kind": "Deposit",
        "key": "k",
        "payload": {"accountId": ANNA, "amount": 5},
        "replyTo": "front",
    }
    return msgspec.json.encode(
        {name: value for name, value in (members | changed).items() if value is not None}
    )


ELSEWHERE = next(name for name in map(str, range(99)) if partition_of(name, PARTITIONS) != HOME)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (envelope(v=2), "unknown envelope version 2"),
        (envelope(v=0), "unknown envelope version 0"),
        (envelope(v="1"), "undecodable command"),
        (envelope(v=None), "undecodable command"),
        (envelope(kind="Steal"), "unknown command Steal"),
        (envelope(kind=None), "unknown command"),
        (envelope(payload=None), "undecodable command"),
        (envelope(payload=[]), "undecodable command"),
        (envelope(payload={"accountId": ANNA, "amount": "5"}), "undecodable command"),
        (envelope(payload={"accountId": ANNA, "amount": 5.0}), "undecodable command"),
        (envelope(payload={"accountId": ANNA, "amount": 10**400}), "undecodable command"),
        (envelope(payload={"accountId": ANNA, "amount": 0}), "amount must be"),
        (envelope(payload={"accountId": ANNA, "amount": MAX_CHIPS + 1}), "amount must be"),
        (envelope(payload={"accountId": "$house-001", "amount": 5}), "account_id must match"),
        (envelope(payload={"accountId": ELSEWHERE, "amount": 5}), f"does not belong to partition {HOME}"),
        (envelope(key=""), "idempotency_key is missing"),
        (envelope(key="two\nlines"), "idempotency_key must be"),
        (envelope(kind="Commit", key=None, payload={"reservationId": "no such id"}), "does not belong"),
        (envelope(kind="EnsureAccount", payload={"accountId": ANNA}), "is not taken by EnsureAccount"),
        (b"[]", "undecodable command"),
        (b"17", "undecodable command"),
        (b"null", "undecodable command"),
        (envelope(key="\x00").replace(b"\\u0000", b"\\udc80"), "undecodable"),
        (envelope(key="#").replace(b"#", b"\xff"), "undecodable command"),
        (envelope(replyTo="#").replace(b"#", b"\xff"), "undecodable command"),
        (b'{"v":1,"kind":"Deposit","key":"k","payload":' + b"[" * 9_999 + b"]" * 9_999 + b"}", "undecodable"),
    ],
)
def test_what_cannot_be_understood_is_poison(raw: bytes, reason: str) -> None:
    """It comes with the reason and the whole text, for the dead letter."""
    delivery = opened(message_around(raw))
    (work,) = delivery.works
    assert work.request is None
    assert reason in work.parking_reason
    assert readable(raw) in work.raw


@pytest.mark.parametrize(
    "raw", [envelope(v=2), envelope(kind="Steal"), b"17", envelope(key="#").replace(b"#", b"\xff")]
)
def test_poison_harms_nothing_that_travels_with_it(raw: bytes) -> None:
    """Its neighbours are carried out, in order, and their front end is answered."""
    delivery = opened(message_around(bytes(deposit(1)), raw, bytes(deposit(2))))
    one, poison, two = delivery.works
    assert one.request
    assert two.request
    assert (one.request.command, two.request.command) == (
        Deposit(account_id=ANNA, amount=1),
        Deposit(account_id=ANNA, amount=2),
    )
    assert poison.request is None
    assert poison.raw == readable(raw)
    assert (delivery.reply_to, delivery.message_id) == ("front", "m")


def test_the_reply_goes_to_whoever_names_an_address() -> None:
    """The envelopes of a message share it; one that cannot be read names none."""
    delivery = opened(message_around(b"17", bytes(deposit(reply_to="")), bytes(deposit())))
    assert delivery.reply_to == "front"


def message_around(*raws: bytes) -> bytes:
    """A message that carries these envelopes, whatever they are."""
    head = (
        b'{"queue_name":"balance","actor_name":"execute","kwargs":{},"options":{},"message_id":"m","args":[['
    )
    return head + b",".join(raws) + b"]]}"


def readable(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"hex:{raw.hex()}"


WHOLE = encode_message([deposit()], "m")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00\xff",
        b"no json",
        b"null",
        b"[]",
        b"{}",
        b"[" * 9_999,
        WHOLE[:-1].encode(),
        WHOLE.replace("execute", "other").encode(),
        WHOLE.replace('"balance"', '"default"').encode(),
        encode_message([], "m").encode(),
        encode_message([deposit()] * (MESSAGE_COMMANDS + 1), "m").encode(),
        WHOLE.replace('"args":[[', '"args":[[],[').encode(),
        WHOLE.replace('"args":[[', '"args":[[' + "[" * 9_999).encode(),
        WHOLE.replace('"kwargs":{}', '"kwargs":{"deep":' + "[" * 9_999 + "]" * 9_999 + "}").encode(),
        WHOLE.replace('"m"', '"\\ud800"').encode(),
        WHOLE.replace('"m"', '"#"').encode().replace(b"#", b"\xff"),
    ],
    ids=lambda payload: payload[:20].decode(errors="replace"),
)
def test_a_message_that_cannot_be_read_is_one_poison(payload: bytes) -> None:
    """The whole entry becomes one dead letter: nothing is lost, and the queue goes on."""
    (work,) = opened(payload).works
    assert work.request is None
    assert work.parking_reason.startswith("undecodable message")
    assert work.raw == readable(payload)


@settings(deadline=None)
@given(payload=st.binary() | st.text().map(str.encode))
def test_no_entry_can_raise(payload: bytes) -> None:
    """Whatever somebody wrote into the stream."""
    assert all(work.parking_reason for work in opened(payload).works)


@settings(deadline=None)
@given(data=st.data())
def test_no_damage_to_an_entry_can_raise(data: st.DataObject) -> None:
    """
    Given a message of which some bytes were changed
    Expect that each of its commands is either well formed or poison.
    """
    payload = bytearray(WHOLE.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    for work in opened(bytes(payload)).works:
        if work.request is None:
            assert work.parking_reason
        else:
            check_command(work.request.command, work.request.key)


def test_a_deadline_that_passed_on_the_way_is_still_one() -> None:
    """Zero means none, so a negative rest must not become it."""
    (work,) = opened(message_around(envelope(remainingMs=-5))).works
    assert work.request
    assert work.request.deadline_at == ARRIVED_AT - 5


def test_members_of_a_later_release_are_passed_over() -> None:
    """Within one version members may be added: old workers carry out what they understand."""
    (work,) = opened(message_around(envelope(colour="red"))).works
    assert work.request
    assert work.request.command == Deposit(account_id=ANNA, amount=5)


@pytest.mark.parametrize(
    ("command", "partition"),
    [
        (EnsureAccount(account_id=ANNA), HOME),
        (CancelPot(table_id=ANNA, hand_id="h1"), HOME),
        (Commit(reservation_id=derive_id(3, "Reserve", ANNA, "k")), 3),
        (Commit(reservation_id=derive_id(4, "Reserve", ANNA, "k")), None),
        (Commit(reservation_id="3-abc"), None),
        (PayTogether(batch_id="b", parts=(part_to(ANNA),)), HOME),
        (PayTogether(batch_id="b", parts=(part_to(ANNA), part_to("bert"))), None),
        (Commit(reservation_id=""), None),
    ],
)
def test_a_command_is_routed_by_what_it_names(command: Command, partition: int | None) -> None:
    """The id of an account or table is hashed; a reservation's names its partition, if there is one."""
    assert route(command, PARTITIONS) == partition


def test_every_field_of_every_command_is_covered_here() -> None:
    """A new field needs values above, or the round trip proves nothing about it."""
    fields = {name for kind in KINDS.values() for name in kind.__struct_fields__}
    assert fields == VALUES.keys()
