"""The dashboard, from code: `python -m ops.grafana` writes ops/grafana/dashboards/balance.json."""
