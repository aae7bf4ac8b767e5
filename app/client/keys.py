"""Idempotency keys of callers who give none."""

from uuid import uuid4


def key_or_new(given: str | None) -> str:
    """The caller's key; one made here, for this call and its retries, where none was given."""
    # An empty key is a mistake, for the service to refuse: a made one would hide it until the second try.
    return uuid4().hex if given is None else given
