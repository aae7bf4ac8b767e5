"""What watches the service names what it tells: table, dashboard, alerts and runbooks are of one piece."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.telemetry.catalogue import CATALOGUE
from ops import metrics
from ops.grafana import __main__ as grafana
from ops.grafana.rows import expressions
from tests.tidy.tree import ROOT

PROMETHEUS, RUNBOOKS = ROOT / "ops" / "prometheus", ROOT / "ops" / "runbooks"
PROMTOOL = shutil.which("promtool")
NAME = re.compile(r"\b(?:balance|reservation)_\w+")
BY = re.compile(r"\bby \(([^)]*)\)")
MATCHED = re.compile(r"[{,]\s*(\w+)\s*(?:=~|!=|!~|=)")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def watched() -> list[str]:
    """Every expression of the dashboard and of the alerts."""
    return [*expressions(), *(alert["expr"] for alert in alerts())]


def test_the_table_of_metrics_is_current() -> None:
    """It tells of every metric, and of no other: run `make dashboard`."""
    assert metrics.COMMITTED.read_text() == metrics.current()


def test_the_dashboard_is_current() -> None:
    """It is made from code, never by hand: run `make dashboard`."""
    assert json.loads(grafana.COMMITTED.read_text()) == grafana.current()


@pytest.mark.parametrize("expr", watched())
def test_an_expression_names_metrics_and_labels_that_exist(expr: str) -> None:
    """Prometheus takes any name, and a panel that shows nothing looks like a service without a worry."""
    described = {each.name: each for each in CATALOGUE}
    found = [re.sub(r"_(bucket|sum|count)$", "", name) for name in NAME.findall(expr)]
    assert found, f"no metric of ours in {expr}"
    assert set(found) <= described.keys()
    labels = {"le"}.union(*(described[name].labels for name in found))
    named = {label.strip() for group in BY.findall(expr) for label in group.split(",")}
    assert named | set(MATCHED.findall(expr)) <= labels


def test_no_label_is_one_that_prometheus_has_itself() -> None:
    """It would arrive as `exported_job`, and nobody would find it."""
    assert not {"job", "instance"} & {label for each in CATALOGUE for label in each.labels}


def test_each_alert_has_a_runbook_and_a_test() -> None:
    """Whoever is woken has a page to open, and it is known what wakes them."""
    names = {alert["alert"] for alert in alerts()}
    tests = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
    tested = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each["exp_alerts"]}
    assert {path.stem for path in RUNBOOKS.glob("Balance*.md")} == names == tested
    for alert in alerts():
        assert alert["annotations"]["runbook"] == f"ops/runbooks/{alert['alert']}.md"
        assert alert["labels"]["severity"] in {"page", "ticket"}


def promtool(*arguments: str) -> str:
    """What promtool has to say; it fails the test where it finds something wrong."""
    if PROMTOOL is None:
        pytest.skip("needs promtool (Debian's package prometheus has it)")
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_alerts_fire_when_they_must_and_not_before() -> None:
    """Each by its own numbers, with Prometheus's own clockwork."""
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    promtool("test", "rules", str(PROMETHEUS / "alerts.test.yml"))


def test_the_dashboards_expressions_are_promql(tmp_path: Path) -> None:
    """Grafana puts the interval in; a rule for each lets promtool read them."""
    rules = [
        {"record": f"panel:{number}", "expr": expr.replace("$__rate_interval", "1m")}
        for number, expr in enumerate(expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))
