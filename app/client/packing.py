"""Puts the lines of a batch into messages of a size that travels, however long they are."""

from collections.abc import Iterable, Iterator

from .gen import balance_pb2 as pb

_MESSAGE_BYTES = 60_000
"""The service takes messages of 64 KiB."""
_ITEM_HEAD_BYTES = 8
"""At most, of an item within its message: tag and length."""


def messages_of(items: Iterable[pb.PayoutItem]) -> Iterator[pb.SubmitBatchRequest]:
    """The items in their order, as many in each message as it takes. Raises ValueError for one beyond any."""
    packed: list[pb.PayoutItem] = []
    size = 0
    for item in items:
        own_size = item.ByteSize() + _ITEM_HEAD_BYTES
        if own_size > _MESSAGE_BYTES:
            raise ValueError(f"line {item.line} is longer than any the service takes")
        if size + own_size > _MESSAGE_BYTES:
            yield pb.SubmitBatchRequest(items=packed)
            packed, size = [], 0
        packed.append(item)
        size += own_size
    if packed:
        yield pb.SubmitBatchRequest(items=packed)
