"""Writes ops/metrics.md, the table of all metrics, from their catalogue: `python -m ops.metrics`."""

from pathlib import Path

from app.telemetry import catalogue
from app.telemetry.catalogue import Described

COMMITTED = Path(__file__).with_name("metrics.md")

_HEAD = """\
# Metrics

`make run` and `balance up` serve one page for all their processes: `http://127.0.0.1:9102/metrics`.
Prometheus reads it with [prometheus/prometheus.yml](prometheus/prometheus.yml), wakes people by
[prometheus/alerts.yml](prometheus/alerts.yml) (each alert has a page in [runbooks](runbooks)), and Grafana
shows it on [grafana/dashboards/balance.json](grafana/dashboards/balance.json).

![The dashboard after 36 minutes of simulated play; a worker was killed](pictures/dashboard.svg)

A process on its own (`python -m workers.main`) serves its page with `SERVE_METRICS=on`; several on one
machine share a page where `METRICS_DIR` names a folder. What is read from the store is told by `balance
metrics`, once is enough. The page is not encrypted and asks for no token; it names no player, table or key.
`METRICS_HOST` opens it to other machines.

This file is made by `python -m ops.metrics`. A histogram `x` stands on the page as `x_bucket`, `x_sum` and
`x_count`.

## Counted by the processes

Add them up over processes and machines: `sum(rate(...))`. A worker counts what its commits have written,
each command once, however often it was delivered. What a process has counted stays when it dies; all counts
begin at 0 with `balance up`. A commit whose reply is lost is not counted (`result="unknown"` tells of it):
for sums that must be right, there are those below.

"""
_READ = """
## Read from the store

At the time of the scrape, at most once a second. They are of the whole service: where several pages tell
them, take `max`, never `sum`. While the store is away `balance_store_up` is 0 and the others are absent.

"""
_TABLE = "| metric | kind | labels | unit | meaning |\n|---|---|---|---|---|\n"


def current() -> str:
    """The page as the code says it is."""
    counted, read = _table(catalogue.COUNTED), _table(catalogue.READ)
    return f"{_HEAD}{_TABLE}{counted}{_READ}{_TABLE}{read}"


def _table(metrics: tuple[Described, ...]) -> str:
    return "".join(
        f"| `{each.name}` | {each.kind} | {', '.join(each.labels)} | {each.unit} | {each.meaning} |\n"
        for each in metrics
    )


if __name__ == "__main__":
    COMMITTED.write_text(current(), encoding="utf-8")
    print(f"{COMMITTED.name}: {len(catalogue.CATALOGUE)} metrics")
