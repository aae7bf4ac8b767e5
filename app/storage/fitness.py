"""Is this server fit for money? Its version, durability, function library, layout and age (DESIGN 8).

Looked at when a process starts, and again whenever the server was out of sight or was replaced.
"""

import logging
import secrets
from contextlib import suppress
from typing import Any, Protocol

from app.services.faults import StoreRefused, StoreUnfit
from app.storage import keys, library

LAYOUT_VERSION = "1"
OLDEST_SERVER = 7
OLDEST_THAT_WAITS = (7, 2)
_REQUIRED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}
_log = logging.getLogger(__name__)


class Caller(Protocol):
    """One command to the server and its reply, as a backend offers it."""

    def call(self, *command: Any) -> Any:
        """Send a command; raises StoreUnavailable or StoreRefused."""
        ...


def check(
    caller: Caller,
    *,
    partitions: int,
    allow_weak: bool,
    seen_commits: int = 0,
    allow_lost: bool = False,
    wait_replicas: int = 0,
) -> int:
    """Raise StoreUnfit, with what to change, unless the server may hold money; the commit counter.

    `seen_commits` is the last counter this process has seen: a server that is behind it was replaced by an
    older copy, or by a replica that had not got all; answers that were given are missing there. It is marked
    then, so that nobody else works on it either, whatever it counts by then, until an operator allows it.
    `allow_weak` and `allow_lost` are an operator's word to carry on all the same. Loads the function library
    when it is absent.
    """
    _check_version(caller, wait_replicas)
    weak = [*_weak_settings(caller), *_weak_memory(caller)]
    if weak and not allow_weak:
        raise StoreUnfit(
            f"the store's settings can lose money: {'; '.join(weak)}. Set them, or ALLOW_WEAK_DURABILITY=on"
        )
    if weak:
        _log.warning(
            "the store's settings can lose money, allowed by ALLOW_WEAK_DURABILITY: %s", "; ".join(weak)
        )
    _check_library(caller)
    commits = _check_layout(caller, partitions)
    return _check_age(caller, commits, seen_commits, allow_lost=allow_lost)


def _info(caller: Caller, section: str) -> dict[str, str]:
    text = caller.call("INFO", section)
    lines = text.decode() if isinstance(text, bytes) else text
    return dict(line.split(":", 1) for line in lines.splitlines() if ":" in line)


def _check_version(caller: Caller, wait_replicas: int) -> None:
    server = _info(caller, "server")
    version = server.get("valkey_version") or server.get("redis_version", "0")
    major, minor, *_ = (*map(int, version.split(".")[:2]), 0)
    if major < OLDEST_SERVER:
        raise StoreUnfit(f"the store is version {version}; {OLDEST_SERVER}.0 or newer is needed")
    if wait_replicas and (major, minor) < OLDEST_THAT_WAITS:
        raise StoreUnfit(f"the store is version {version}, which knows no WAITAOF; WAIT_REPLICAS needs 7.2")


def _weak_settings(caller: Caller) -> list[str]:
    weak = []
    for name, wanted in _REQUIRED.items():
        reply = caller.call("CONFIG", "GET", name)
        found = reply[1].decode() if reply else "unknown"
        if found != wanted:
            weak.append(f"{name} is {found}, not {wanted}")
    return weak


def _weak_memory(caller: Caller) -> list[str]:
    memory = _info(caller, "memory")
    limit, machine = int(memory.get("maxmemory", 0)), int(memory.get("total_system_memory", 0))
    if limit == 0:
        return ["maxmemory is not set"]
    if machine and limit > machine // 2:
        return [f"maxmemory {limit} is more than half of the machine's {machine} bytes"]
    return []


def _check_library(caller: Caller) -> None:
    code = _loaded_library(caller)
    if code is None:
        with suppress(StoreRefused):  # another process was faster: what it loaded is looked at below
            caller.call("FUNCTION", "LOAD", library.source())
        code = _loaded_library(caller)
    if code is None:
        raise StoreUnfit(f"the store takes no function library; {library.LIBRARY} is needed")
    if library.digest(code) != library.digest(library.source()):
        raise StoreUnfit(f"the store has another function library under the name {library.LIBRARY}")


def _loaded_library(caller: Caller) -> str | None:
    found = caller.call("FUNCTION", "LIST", "LIBRARYNAME", library.LIBRARY, "WITHCODE")
    if not found:
        return None
    fields = found[0]
    code: bytes = dict(zip(fields[::2], fields[1::2], strict=True))[b"library_code"]
    return code.decode()


def _check_layout(caller: Caller, partitions: int) -> int:
    wanted = {"layout": LAYOUT_VERSION, "partitions": str(partitions), "storeId": secrets.token_hex(8)}
    if None in caller.call("HMGET", keys.META, *wanted):  # only a new store is written to
        for name, value in wanted.items():
            caller.call("HSETNX", keys.META, name, value)
    layout, count, commits = caller.call("HMGET", keys.META, "layout", "partitions", "commits")
    if layout.decode() != LAYOUT_VERSION:
        raise StoreUnfit(f"the store has layout {layout.decode()}; this release knows {LAYOUT_VERSION}")
    if count.decode() != str(partitions):
        raise StoreUnfit(f"PARTITIONS is {partitions}, but the store was made with {count.decode()}")
    return int(commits or 0)


def _check_age(caller: Caller, commits: int, seen_commits: int, *, allow_lost: bool) -> int:
    """The commit counter to go on from: no number comes twice, or a second loss would look like none."""
    found = caller.call("HMGET", keys.META, keys.MISSED, keys.MISSING_ALLOWED)
    marked, allowed = (int(count or 0) for count in found)
    newly_missed = seen_commits if commits < seen_commits else 0
    missed = max(marked, newly_missed)
    if missed <= allowed:
        return commits
    lost = f"the store is an older copy: it counts {commits} commits, {seen_commits} were seen"
    if not newly_missed:
        lost = f"the store is an older copy: a process that had seen {missed} commits has found fewer there"
    with suppress(StoreRefused):  # who has not the right to say so still keeps away
        if allow_lost:
            caller.call("HSET", keys.META, keys.MISSING_ALLOWED, missed)
            commits = int(caller.call("HINCRBY", keys.META, "commits", max(missed - commits, 0)))
        elif newly_missed > marked:
            caller.call("HSET", keys.META, keys.MISSED, missed)
    if not allow_lost:
        raise StoreUnfit(f"{lost}. Bring the newer one back, or set ALLOW_LOST_COMMITS=on")
    _log.critical("ALARM %s, allowed by ALLOW_LOST_COMMITS", lost)
    return commits
