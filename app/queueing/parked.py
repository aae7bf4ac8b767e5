"""Envelopes of parked commands: opened for a look, and sent on their way once more."""

import msgspec

from app.domain.dead_letters import DeadLetter
from app.domain.requests import Request
from app.queueing.envelope import UNREADABLE, encode_message, open_envelope

_NOT_SENT_AGAIN = ("remainingMs", "replyTo", "replayOf", "replayNumber")

_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ParkedEnvelopes:
    """Implements `app.services.dead_letters.Envelopes`.

    What an envelope carries beside the command goes with it, whatever it is; only nobody waits any more.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def open_parked(self, letter: DeadLetter) -> Request:
        """See Envelopes."""
        work = open_envelope(letter.raw.encode(), letter.partition, self._partitions, letter.arrived_at)
        if work.request is None:
            raise ValueError(work.poison)
        request = work.request
        return Request(
            request.command,
            partition=request.partition,
            key=request.key,
            command_id=request.command_id,
            arrived_at=request.arrived_at,
            replay_of=letter.dead_letter_id,
            replay_number=letter.last_replay + 1,
        )

    def replay_message(self, letter: DeadLetter) -> str:
        """See Envelopes."""
        number = letter.last_replay
        named: dict[str, str | int] = {"replayOf": letter.dead_letter_id, "replayNumber": number}
        return _message(letter, named, f"replay-{letter.dead_letter_id}-{number}")

    def new_message(self, letter: DeadLetter, key: str) -> str:
        """See Envelopes."""
        return _message(letter, {"key": key}, key)


def _message(letter: DeadLetter, changed: dict[str, str | int], message_id: str) -> str:
    try:
        fields = _decode_fields(letter.raw)
    except UNREADABLE as error:
        raise ValueError(f"the envelope cannot be read: {error}") from error
    for name in _NOT_SENT_AGAIN:
        fields.pop(name, None)
    fields |= {name: msgspec.Raw(_encode(value)) for name, value in changed.items()}
    return encode_message([msgspec.Raw(_encode(fields))], message_id)
