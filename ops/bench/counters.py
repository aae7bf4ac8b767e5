"""What the store itself counts: calls, reads from its sockets, bytes on the network and in its log."""

from collections.abc import Mapping
from contextlib import closing

from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend

Counters = Mapping[str, float]

COMMIT_CALLS, READ_CALLS, QUEUE_READS = "FCALL", "FCALL_RO", "XREAD"
MESSAGES, COMMITS = "messages", "commits"
SOCKET_READS = "socket reads"
NETWORK_IN, NETWORK_OUT, LOG_BYTES, LOG_BASE = "network in", "network out", "log", "log base"

_ENTRIES = "XADD"
_FIELDS = {
    SOCKET_READS: "total_reads_processed",
    NETWORK_IN: "total_net_input_bytes",
    NETWORK_OUT: "total_net_output_bytes",
    LOG_BYTES: "aof_current_size",
    LOG_BASE: "aof_base_size",
}


def read_counters(url: str) -> Counters:
    """All counters as they stand."""
    with closing(ValkeyBackend(url)) as backend:
        found = dict(
            line.split(":", 1)
            for section in ("stats", "persistence", "commandstats")
            for line in backend.call("INFO", section).decode().splitlines()
            if ":" in line
        )
        commits = int(backend.call("HGET", keys.META, "commits") or 0)
    counters = {name: float(found[field]) for name, field in _FIELDS.items()}
    calls = {name: _calls(found, name) for name in (COMMIT_CALLS, READ_CALLS, QUEUE_READS, _ENTRIES)}
    return counters | calls | {COMMITS: float(commits)}


def per_call(before: Counters, after: Counters, calls: int) -> Counters:
    """What `calls` deposits through one front end have added, each on average.

    The server counts the stream entries that functions add with those that clients do: one event for each
    deposit and one entry of answers for each commit. The others are messages of the queue.
    """
    if before[LOG_BASE] != after[LOG_BASE]:
        raise RuntimeError("the store has rewritten its log meanwhile: its growth says nothing")
    added = {name: after[name] - before[name] for name in after}
    added[MESSAGES] = added.pop(_ENTRIES) - calls - added[COMMITS]
    return {name: count / calls for name, count in added.items()}


def _calls(found: dict[str, str], command: str) -> float:
    """`cmdstat_fcall:calls=21,usec=...`; a command that was never called has no line."""
    statistics = found.get(f"cmdstat_{command.lower()}", "calls=0")
    return float(statistics.partition("calls=")[2].partition(",")[0])
