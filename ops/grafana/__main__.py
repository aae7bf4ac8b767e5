"""Writes the dashboard as Grafana reads it."""

import json
from pathlib import Path
from typing import Any

from ops.grafana.rows import ROWS, Panel

COMMITTED = Path(__file__).with_name("dashboards") / "balance.json"
_WIDTH, _STAT_HEIGHT, _HEIGHT, _IN_A_ROW = 24, 4, 8, 4
_SOURCE = {"type": "prometheus", "uid": "prometheus"}  # as ops/grafana/provisioning names it


def current() -> dict[str, Any]:
    """The dashboard as the code says it is."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        place = {"h": 1, "w": _WIDTH, "x": 0, "y": top}
        panels.append({"type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []})
        top += 1
        stats = row.panels[0].kind == "stat"
        height, in_a_row = (_STAT_HEIGHT, len(row.panels)) if stats else (_HEIGHT, _IN_A_ROW)
        width = _WIDTH // in_a_row
        for index, panel in enumerate(row.panels):
            down, across = divmod(index, in_a_row)
            grid = {"h": height, "w": width, "x": across * width, "y": top + down * height}
            panels.append(_panel(panel, grid))
        top += height * -(-len(row.panels) // in_a_row)
    for number, made in enumerate(panels, 1):
        made["id"] = number
    return {
        "uid": "balance",
        "title": "Balance service",
        "tags": ["balance"],
        "timezone": "utc",
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    options: dict[str, Any] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    if panel.kind == "stat":
        wrong = {
            "type": "special",
            "options": {"match": "null", "result": {"text": "no data", "color": "red"}},
        }
        right = {"type": "value", "options": {f"{panel.good:g}": {"color": "green"}}}
        defaults |= {
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": [{"color": "red", "value": None}]},
            "mappings": [right, wrong],
        }
        options = {
            "colorMode": "background",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"]},
        }
    else:
        defaults |= {"custom": {"fillOpacity": 10, "showPoints": "never"}, "min": None}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": panel.kind == "stat",
                "range": panel.kind != "stat",
            }
            for index, query in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    COMMITTED.write_text(json.dumps(current(), indent=1) + "\n", encoding="utf-8")
    print(f"{COMMITTED.name}: {len(current()['panels'])} panels and rows")
