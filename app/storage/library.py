"""The function library as it is shipped: its text, its versioned names, its hash."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

LIBRARY = "balance_1"

READ = "read_1"
COMMIT = "commit_1"
ACQUIRE = "acquire_1"
RENEW = "renew_1"
RELEASE = "release_1"
MARK = "mark_1"
LEAD = "lead_1"
RESIGN = "resign_1"
DISPATCH = "dispatch_1"


@cache
def source() -> str:
    """The Lua text of the library."""
    return files("app.storage").joinpath("functions/balance.lua").read_text(encoding="utf-8")


def digest(code: str) -> str:
    """SHA-256, hex, of a library's text: two releases under one name must be the same text."""
    return sha256(code.encode()).hexdigest()
