"""How account ids stand in logs and traces: LOG_ACCOUNTS says plain, hashed, or off."""

from hashlib import sha256
from typing import Literal

AccountPolicy = Literal["plain", "hashed", "off"]
_HASH_DIGITS = 16


def shown(account_id: str, policy: AccountPolicy) -> str:
    """The id as it may be shown, "" where not at all. The same id gives the same hash, on every machine."""
    if policy == "off" or not account_id:
        return ""
    if policy == "plain":
        return account_id
    return "sha256:" + sha256(account_id.encode()).hexdigest()[:_HASH_DIGITS]
