"""What the dashboard shows: rows of panels, each with its queries. What it looks like is not said here."""

from typing import Literal, NamedTuple


class Query(NamedTuple):
    """A PromQL expression, and how its series are called (Grafana's {{label}})."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One picture. `unit` is Grafana's; a `stat` is one large number, red when it is not `good`."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat"] = "timeseries"
    good: float = 0
    about: str = ""


class Row(NamedTuple):
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


CHIPS, SECONDS, PER_SECOND, COUNT, SHARE = "none", "s", "ops", "short", "percentunit"
_OVER = "[$__rate_interval]"
_OUTSIDE = "DEPOSIT|BONUS|REFERRAL|PAYOUT|WITHDRAW"  # where chips come from, and where they go


def _one(title: str, unit: str, expr: str, legend: str, about: str = "") -> Panel:
    return Panel(title, unit, (Query(expr, legend),), about=about)


def _stat(title: str, unit: str, expr: str, good: float = 0, about: str = "") -> Panel:
    return Panel(title, unit, (Query(expr, ""),), "stat", good, about)


def _rate(metric: str, by: str) -> Query:
    return Query(f"sum by ({by}) (rate({metric}{_OVER}))", f"{{{{{by}}}}}")


def _quantiles(metric: str, *quantiles: float) -> tuple[Query, ...]:
    return tuple(
        Query(f"histogram_quantile({each}, sum by (le) (rate({metric}_bucket{_OVER})))", f"p{each * 100:g}")
        for each in quantiles
    )


def _slow(metric: str, by: str) -> Query:
    """The 99th percentile of each label's value."""
    expr = f"histogram_quantile(0.99, sum by (le, {by}) (rate({metric}_bucket{_OVER})))"
    return Query(expr, f"{{{{{by}}}}}")


ROWS = (
    Row(
        "Is the money safe?",
        (
            _stat("Drift", CHIPS, "max(balance_supply_drift_chips)", about="Chips made or lost."),
            _stat("Broken ledgers", COUNT, "sum(increase(balance_accounts_frozen_total[1h]))"),
            _stat("Findings", COUNT, "max(balance_audit_findings)", about="Open findings of the audits."),
            _stat("Dead letters", COUNT, "max(balance_dead_letters)"),
            _stat("Chips at stake", CHIPS, "max(balance_dead_letter_chips)"),
            _stat("Store", COUNT, "max(balance_store_up)", good=1),
            _stat("Stopped kinds", COUNT, "max(balance_stopped_kinds)", about="By the safety stop."),
            _stat("Paused", COUNT, "max(balance_paused)"),
            _stat("Unowned", COUNT, "max(balance_partitions_unowned)"),
            _stat("Leader", COUNT, "max(balance_scheduler_leaders)", good=1),
        ),
    ),
    Row(
        "Operations",
        (
            Panel("Commands answered", PER_SECOND, (_rate("balance_operations_total", "operation"),)),
            _one(
                "Refused, by reason",
                PER_SECOND,
                f'sum by (outcome) (rate(balance_operations_total{{outcome!="OK"}}{_OVER}))',
                "{{outcome}}",
            ),
            _one("Answered again from the record", PER_SECOND, *_rate("balance_replays_total", "operation")),
            _one("Holds ended by time", PER_SECOND, f"sum(rate(reservation_expiry_total{_OVER}))", "expired"),
        ),
    ),
    Row(
        "Latencies",
        (
            Panel(
                "Commands at the front ends", SECONDS, _quantiles("balance_latency_seconds", 0.5, 0.95, 0.99)
            ),
            Panel("p99 by operation", SECONDS, (_slow("balance_latency_seconds", "operation"),)),
            Panel("Waiting in the queue, p99", SECONDS, (_slow("balance_queue_wait_seconds", "lane"),)),
            Panel("Calls to the store, p99", SECONDS, (_slow("balance_store_call_seconds", "call"),)),
        ),
    ),
    Row(
        "Errors",
        (
            _one(
                "gRPC that is not OK",
                PER_SECOND,
                f'sum by (status) (rate(balance_grpc_request_seconds_count{{status!="OK"}}{_OVER}))',
                "{{status}}",
            ),
            _one(
                "HTTP from 400 on",
                PER_SECOND,
                f'sum by (status) (rate(balance_http_request_seconds_count{{status=~"[45].."}}{_OVER}))',
                "{{status}}",
            ),
            Panel("Commands without an answer", PER_SECOND, (_rate("balance_bus_refusals_total", "reason"),)),
            _one(
                "Commits that were not applied",
                PER_SECOND,
                f'sum by (result) (rate(balance_commits_total{{result!="applied"}}{_OVER}))',
                "{{result}}",
            ),
        ),
    ),
    Row(
        "Queue and workers",
        (
            _one("Messages waiting", COUNT, "max by (lane) (balance_queue_messages)", "{{lane}}"),
            _one(
                "Oldest message",
                SECONDS,
                "max by (lane) (balance_queue_oldest_message_seconds)",
                "{{lane}}",
            ),
            _one(
                "Commands in a commit, mean",
                COUNT,
                f"sum(rate(balance_commit_commands_sum{_OVER}))"
                f" / sum(rate(balance_commit_commands_count{_OVER}))",
                "commands",
            ),
            _one("Partitions by owner", COUNT, "max by (worker) (balance_partitions_owned)", "{{worker}}"),
            _one("Changes of owners", COUNT, "sum(increase(balance_partition_epoch[5m]))", "in 5 minutes"),
            _one(
                "Messages taken again",
                PER_SECOND,
                f"sum(rate(balance_redeliveries_total{_OVER}))",
                "messages",
            ),
            _one("Processes", COUNT, "sum by (process) (balance_processes)", "{{process}}"),
            _one(
                "Since the last slot of a job",
                SECONDS,
                "max by (task) (balance_scheduler_slot_age_seconds)",
                "{{task}}",
            ),
        ),
    ),
    Row(
        "Economy",
        (
            _one("Supply", CHIPS, "max(balance_supply_chips)", "all chips"),
            Panel(
                "Where the chips are",
                CHIPS,
                (
                    Query("max(balance_account_chips)", "accounts"),
                    Query("max(balance_held_chips)", "of these held"),
                    Query("max(balance_in_play_chips)", "in play"),
                    Query("max(balance_in_pots_chips)", "in pots"),
                    Query("max(balance_house_chips)", "house"),
                ),
            ),
            _one(
                "Sources and sinks, chips a second",
                CHIPS,
                f'max by (type) (rate(balance_moved_chips_total{{type=~"{_OUTSIDE}"}}{_OVER}))',
                "{{type}}",
            ),
            _one(
                "Velocity: moved in an hour per chip",
                COUNT,
                f"sum(max by (type) (rate(balance_moved_chips_total{_OVER}))) * 3600"
                " / max(balance_supply_chips)",
                "velocity",
                about="How often a chip changes its place in an hour.",
            ),
            Panel(
                "Holds and pots",
                COUNT,
                (
                    Query("max(balance_held_reservations)", "reservations held"),
                    Query("max(balance_active_pots)", "pots under way"),
                ),
            ),
            _one("Accounts", COUNT, "max(balance_accounts)", "accounts"),
        ),
    ),
    Row(
        "Audits",
        (
            _one("Findings", COUNT, "max(balance_audit_findings)", "open"),
            Panel(
                "Since the last check",
                SECONDS,
                (
                    Query("max(balance_audit_check_age_seconds)", "of what is new"),
                    Query("max(balance_audit_full_age_seconds)", "of everything"),
                ),
            ),
            _one("Pots that do not end", COUNT, "max(balance_audit_stuck_pots)", "pots"),
            _one("Deficit of tables", CHIPS, "max(balance_table_deficit_chips)", "chips"),
        ),
    ),
    Row(
        "Store",
        (
            _one("Memory used", SHARE, "max(balance_store_memory_used_ratio)", "of the limit"),
            _one("Commits", PER_SECOND, f"max(rate(balance_store_commits_total{_OVER}))", "commits"),
            Panel("Calls that failed", PER_SECOND, (_rate("balance_store_errors_total", "result"),)),
            _one("Clock of the store less ours", SECONDS, "max(balance_clock_offset_seconds)", "offset"),
        ),
    ),
)


def expressions() -> list[str]:
    """Every expression of the dashboard."""
    return [query.expr for row in ROWS for panel in row.panels for query in panel.queries]
