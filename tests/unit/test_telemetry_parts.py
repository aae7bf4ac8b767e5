"""What a process has of telemetry follows its settings; what is off wraps nothing."""

import subprocess
import sys

import pytest

from app.config import Settings, SettingsError
from app.services.watching import UNMETERED, UNWATCHED
from app.telemetry import parts
from app.telemetry.parts import Telemetry
from tests.support.scene import Scene
from tests.support.workers import ROOT


def test_what_is_off_costs_nothing() -> None:
    """Given neither a page nor an endpoint, Expect the very store that was handed in."""
    telemetry = Telemetry.begin(Settings(), "worker")
    store = Scene().owner().execution._store
    assert telemetry.store(store) is store
    assert (telemetry.watch, telemetry.calls) == (UNWATCHED, UNMETERED)
    assert (telemetry.middleware, telemetry.replied) == ([], None)
    telemetry.close()


def test_without_an_endpoint_nothing_that_sends_is_loaded() -> None:
    """It is an extra, and most of a second of a start. (redis-py looks for OpenTelemetry by itself.)"""
    script = "import sys, app.bootstrap, workers.main; print('opentelemetry.exporter' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "False\n"


def test_an_endpoint_without_the_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, by the variable's name: not found out when somebody needs a trace."""
    monkeypatch.setattr(parts, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: .*balance-service\[otel\]"):
        Telemetry.begin(Settings(otel_exporter_otlp_endpoint="http://127.0.0.1:4318"), "worker")
