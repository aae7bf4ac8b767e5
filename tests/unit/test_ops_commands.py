"""Commands of ops on the command line: what lacks a reason or a choice is not sent at all."""

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.cli.ops_service import table


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pause"], "--reason"),
        (["resume"], "--reason"),
        (["account", "freeze", "alice"], "--reason"),
        (["account", "unfreeze", "alice"], "--reason"),
        (["adjust", "alice", "5", "--reason", "r"], "--corrects"),
        (["adjust", "alice", "0.5", "--corrects", "x", "--reason", "r"], "not a valid integer"),
        (["pot", "cancel", "t1", "h1"], "--reason"),
        (["table", "close", "t1"], "--reason"),
        (["stops", "clear"], "--reason"),
        (["dead-letters", "replay", "000-i-1-0-0"], "--reason"),
        (["dead-letters", "resolve", "000-i-1-0-0"], "--reason"),
        (["dead-letters", "replay", "--reason", "r"], "name dead letters, or give --all"),
        (["dead-letters", "replay", "x", "--all", "--reason", "r"], "name dead letters, or give --all"),
        (["dead-letters", "resolve", "x", "--kind", "Deposit", "--reason", "r"], "filters choose"),
    ],
)
def test_what_lacks_a_reason_or_a_choice_is_not_sent(arguments: list[str], told: str) -> None:
    """Exit code 2, and nothing on standard output."""
    run = CliRunner().invoke(main, arguments, env={"HTTP_PORT": "1", "DATA_DIR": "nowhere"})
    assert run.exit_code == 2
    assert told in run.stderr
    assert run.stdout == ""


def test_a_service_that_does_not_answer_is_said_so() -> None:
    """Exit code 2: it could not run."""
    run = CliRunner().invoke(main, ["status"], env={"HTTP_PORT": "1", "DATA_DIR": "nowhere"})
    assert run.exit_code == 2
    assert "does not answer" in run.stderr


def test_rows_stand_in_columns() -> None:
    """No space at the end of a line."""
    assert table([("A", "BBB"), ("aaaa", "b")]) == "A     BBB\naaaa  b"
