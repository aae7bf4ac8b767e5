"""The command `balance`: listing commands loads none of them, and mistakes read well."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from app.cli.main import main


def test_help_lists_every_command_and_loads_none() -> None:
    """Help is there at once; the modules of the service are not imported for it."""
    probe = (
        "import sys; from app.cli.main import main; main(['--help'], standalone_mode=False);"
        "print(sorted(name for name in sys.modules if name.startswith('app.')))"
    )
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    for name in ("up", "grpc", "http", "call", "account", "simulate", "verify"):
        assert f"\n  {name} " in shown
    assert shown.endswith("['app.cli', 'app.cli.main']\n")


def test_an_unknown_command_is_a_usage_error() -> None:
    """The message names it."""
    result = CliRunner().invoke(main, ["deal"])
    assert result.exit_code == 2
    assert "No such command 'deal'" in result.output


def test_a_wrong_environment_is_told_without_a_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the command, the variable is named and the exit code is that of a refusal."""
    monkeypatch.setenv("PARTITIONS", "many")
    result = CliRunner().invoke(main, ["up"])
    assert result.exit_code == 2
    assert "PARTITIONS: 'many' is not a whole number from 1 to 999" in result.stderr
