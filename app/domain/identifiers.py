"""Ids that route themselves: which partition an id belongs to, and ids derived from what they identify.

A derived id is `NNN-` (its partition) and 26 characters of base32, the first 130 bits of SHA-256 over
operation, aggregate and key. The same command therefore names the same record for ever.
"""

import re
from base64 import b32encode
from hashlib import sha256
from zlib import crc32

MAX_PARTITIONS = 999
MAX_KEY_LENGTH = 255

_CALLER_ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}", re.ASCII)
_HOUSE_ID = re.compile(r"\$house-([0-9]{3})", re.ASCII)
_DERIVED_ID = re.compile(r"([0-9]{3})-[a-z2-7]{26}", re.ASCII)


def is_caller_id(value: str) -> bool:
    """True for an account, table or hand id that a caller may use (CONTRACT 3)."""
    return _CALLER_ID.fullmatch(value) is not None


def is_key(value: str) -> bool:
    """True for an idempotency key: 1 to 255 printable characters."""
    return 0 < len(value) <= MAX_KEY_LENGTH and value.isprintable()


def partition_of(aggregate_id: str, partitions: int) -> int:
    """The partition of an account or table id: crc32 modulo the number of partitions.

    The house account of a partition stands in that very partition.
    """
    if house := _HOUSE_ID.fullmatch(aggregate_id):
        return int(house[1]) % partitions
    return crc32(aggregate_id.encode()) % partitions


def house_of(partition: int) -> str:
    """The account that takes the rake of a partition's pots: no hot key of all tables."""
    return f"$house-{partition:03d}"


def is_house_id(account_id: str) -> bool:
    """True for a house account."""
    return _HOUSE_ID.fullmatch(account_id) is not None


def partition_in(derived_id: str) -> int | None:
    """The partition a derived id names, or None when the text is no derived id."""
    match = _DERIVED_ID.fullmatch(derived_id)
    return int(match[1]) if match else None


def derive_id(partition: int, operation: str, aggregate_id: str, key: str) -> str:
    """The id of what `operation` on `aggregate_id` under `key` creates.

    Neither operation nor aggregate may contain `|`, so the three parts cannot be confused.
    """
    digest = sha256(f"{operation}|{aggregate_id}|{key}".encode()).digest()
    return f"{partition:03d}-{b32encode(digest)[:26].decode().lower()}"


def hash_key(key: str) -> str:
    """The form in which an idempotency key enters a key name: SHA-256, hex."""
    return sha256(key.encode()).hexdigest()
