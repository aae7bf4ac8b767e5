"""The envelope of a command and the Dramatiq message that carries envelopes: the one codec for both.

Messages outlive deploys, so every envelope names its version; one of an unknown version or kind is kept
whole for the dead letter, and harms nothing that travels with it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from app.domain.commands import KINDS, AccountCommand, Command, PayTogether, TableCommand
from app.domain.identifiers import partition_in, partition_of
from app.domain.requests import Request
from app.domain.validation import check_command
from app.queueing.limits import ACTOR_NAME, MESSAGE_COMMANDS, QUEUE_NAME
from app.services.queue import Entry, Lane
from app.services.request_ids import REQUEST_ID
from app.services.tracking import Track, Tracked
from app.services.work import Delivery, Work

ENVELOPE_VERSION = 1


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """One command on its way. `remaining_ms` is what is left of its deadline; 0 means none.

    `reply_to` names the front end that waits; the envelopes of one message share it. `track` says where the
    command's state is kept, for those who ask for it later; absent when nobody will. A replay names its dead
    letter, and which replay of that one it is. `request_id` is that of the call that brought the command.
    """

    v: int
    command_id: str = ""
    kind: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    key: str = ""
    remaining_ms: int = 0
    reply_to: str = ""
    trace: str = ""
    request_id: str = ""
    track: Track | None = None
    replay_of: str = ""
    replay_number: int = 0


class Origin(NamedTuple):
    """The call that brought a command: its traceparent and its id, "" where it has none."""

    trace: str = ""
    request_id: str = ""


UNTOLD = Origin()


class WireMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A Dramatiq message as it travels, its commands not yet looked into."""

    queue_name: str
    actor_name: str
    args: tuple[list[msgspec.Raw], ...]
    kwargs: dict[str, Any] = {}
    options: dict[str, Any] = {}
    message_id: str
    message_timestamp: int = 0


# Beside what is no JSON or has another shape: text that is no UTF-8 (a ValueError), and nesting without end.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)

_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(WireMessage).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decoders = {name: msgspec.json.Decoder(kind).decode for name, kind in KINDS.items()}


def seal(
    command: Command,
    *,
    key: str,
    command_id: str,
    remaining_ms: int,
    reply_to: str = "",
    origin: Origin = UNTOLD,
    track: Track | None = None,
) -> msgspec.Raw:
    """The envelope of a command, encoded."""
    envelope = Envelope(
        v=ENVELOPE_VERSION,
        command_id=command_id,
        kind=command.kind,
        payload=msgspec.Raw(_encode(command)),
        key=key,
        remaining_ms=remaining_ms,
        reply_to=reply_to,
        trace=origin.trace,
        request_id=origin.request_id,
        track=track,
    )
    return msgspec.Raw(_encode(envelope))


def encode_message(envelopes: list[msgspec.Raw], message_id: str) -> str:
    """A Dramatiq message that carries the envelopes to the worker's actor."""
    message = WireMessage(
        queue_name=QUEUE_NAME, actor_name=ACTOR_NAME, args=(envelopes,), message_id=message_id
    )
    return _encode(message).decode()


def open_message(entry: Entry, *, partition: int, partitions: int, lane: Lane, epoch: int) -> Delivery:
    """The delivery of a stream entry. Whatever cannot be understood becomes a work to be parked."""
    arrived_at = entry.arrived_at
    message_id, reply_to = "", ""
    try:
        message = _decode_message(entry.payload)
        message_id = message.message_id
        if (message.queue_name, message.actor_name) != (QUEUE_NAME, ACTOR_NAME):
            raise ValueError(f"unknown actor {message.queue_name}.{message.actor_name}")
        if len(message.args) != 1 or not 1 <= len(message.args[0]) <= MESSAGE_COMMANDS:
            raise ValueError(f"a message carries 1 to {MESSAGE_COMMANDS} commands")
        raws = [bytes(raw) for raw in message.args[0]]
    except UNREADABLE as error:
        works = [Work(raw=_text(entry.payload), poison=f"undecodable message: {error}")]
    else:
        reply_to = next(filter(None, map(_reply_to, raws)), "")
        works = [open_envelope(raw, partition, partitions, arrived_at) for raw in raws]
    return Delivery(
        partition=partition,
        epoch=epoch,
        lane=lane,
        entry_id=entry.entry_id,
        message_id=message_id,
        reply_to=reply_to,
        works=works,
        arrived_at=arrived_at,
    )


def tracked_message(tracked: Sequence[Tracked], message_id: str) -> str:
    """A message of commands that nobody waits for: their states are kept. Implements `tracking.Seal`."""
    origin = Origin(request_id=REQUEST_ID.get())
    envelopes = [
        seal(
            each.command,
            key=each.key,
            command_id=each.command_id,
            remaining_ms=0,
            origin=origin,
            track=each.track,
        )
        for each in tracked
    ]
    return encode_message(envelopes, message_id)


def route(command: Command, partitions: int) -> int | None:
    """The partition a command belongs to; None for a reservation id that cannot be read, or for several."""
    if isinstance(command, AccountCommand):
        return partition_of(command.account_id, partitions)
    if isinstance(command, TableCommand):
        return partition_of(command.table_id, partitions)
    if isinstance(command, PayTogether):
        found = {partition_of(part.account_id, partitions) for part in command.parts}
        return found.pop() if len(found) == 1 else None
    partition = partition_in(command.aggregate_id)
    return partition if partition is not None and partition < partitions else None


def route_envelope(raw: bytes, partitions: int) -> int | None:
    """The partition of an encoded envelope, for producers that send envelopes themselves."""
    return route(_command_in(_decode_envelope(raw)), partitions)


def open_envelope(raw: bytes, partition: int, partitions: int, arrived_at: int) -> Work:
    """The work of one envelope; what cannot be understood says so in its `poison`."""
    work = Work(raw=_text(raw))
    try:
        envelope = _decode_envelope(raw)
        work.track, work.command_id = envelope.track, envelope.command_id
        work.trace, work.request_id = envelope.trace, envelope.request_id
        command = _command_in(envelope)
        check_command(command, envelope.key, by_ops=True)  # who may was decided at the front end
        if route(command, partitions) != partition:
            raise ValueError(f"command does not belong to partition {partition}")
    except UNREADABLE as error:
        work.poison = f"undecodable command: {error}"
        return work
    work.request = Request(
        command,
        partition=partition,
        key=envelope.key,
        command_id=envelope.command_id,
        arrived_at=arrived_at,
        deadline_at=arrived_at + envelope.remaining_ms if envelope.remaining_ms else 0,
        replay_of=envelope.replay_of,
        replay_number=envelope.replay_number,
    )
    return work


def _command_in(envelope: Envelope) -> Command:
    if envelope.v != ENVELOPE_VERSION:
        raise ValueError(f"unknown envelope version {envelope.v}")
    decode = _decoders.get(envelope.kind)
    if decode is None:
        raise ValueError(f"unknown command {envelope.kind}")
    return decode(envelope.payload)


def _reply_to(raw: bytes) -> str:
    try:
        return _decode_envelope(raw).reply_to
    except UNREADABLE:
        return ""


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"hex:{raw.hex()}"
