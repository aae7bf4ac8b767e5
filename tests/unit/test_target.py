"""How commands find the service: options first, then what runs on the data folder, then the settings."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.cli.target import Running, Target, find_target, running, target_options
from app.config import Settings
from app.services.tls import ClientTls


@pytest.fixture
def here(tmp_path: Path) -> Running:
    """A service that runs on a data folder, in this process."""
    return Running(
        http="127.0.0.1:1111",
        grpc="127.0.0.1:2222",
        redis_url="unix:///store.sock",
        data_dir=str(tmp_path),
        token="made-for-here",
        pid=os.getpid(),
        started_at="2026-01-02T03:04:05.678Z",
    )


def test_what_runs_on_the_folder_is_found(here: Running, tmp_path: Path) -> None:
    """With its token, unless the caller brings one."""
    here.publish()
    settings = Settings(data_dir=tmp_path)
    assert find_target(settings) == Target(here.grpc, here.http, here.token, here.redis_url)
    assert find_target(settings, token="mine").token == "mine"


def test_a_token_stays_with_its_service(here: Running, tmp_path: Path) -> None:
    """A target that the caller names never gets the token of another service."""
    here.publish()
    found = find_target(Settings(data_dir=tmp_path, http_port=80), target="[2001:db8::1]:50051")
    assert found == Target("[2001:db8::1]:50051", "[2001:db8::1]:80")


def test_a_token_does_not_cross_a_network_in_the_clear(tmp_path: Path) -> None:
    """Unless somebody said so; without a token there is nothing to hide."""
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(click.UsageError, match="in the clear"):
        find_target(settings, "balance:50051", "mine")
    with pytest.raises(click.UsageError, match="in the clear"):
        find_target(replace(settings, bind_host="10.0.0.1"), token="mine")
    for safe in (
        settings,
        replace(settings, allow_plaintext=True),
        replace(settings, tls_ca_file=Path("ca")),
    ):
        target = "127.0.0.1:50051" if safe is settings else "balance:50051"
        assert find_target(safe, target, "mine").token == "mine"
    assert find_target(settings, "balance:50051").token is None


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """Arguments can be read by every user of the machine, so there is no option for the token itself."""

    @click.command()
    @target_options
    def show(*, target: str | None, token: str | None) -> None:
        click.echo(f"{target} {token}")

    (tmp_path / "token").write_text("of the file\n")
    runner, environ = CliRunner(), {"BALANCE_TOKEN": "of the environment"}
    assert (
        runner.invoke(show, ["--token-file", str(tmp_path / "token")], env=environ).output
        == "None of the file\n"
    )
    assert runner.invoke(show, [], env=environ).output == "None of the environment\n"
    assert runner.invoke(show, [], env={"BALANCE_TOKEN": ""}).output == "None None\n"
    assert runner.invoke(show, ["--token", "x"]).exit_code == 2


def test_how_to_trust_the_service_is_written_down_too(here: Running, tmp_path: Path) -> None:
    """A command in another terminal finds the certificate; what its own environment says comes first."""
    tls = ClientTls(ca_file="/certs/server.pem", server_name="balance.example")
    replace(here, tls=tls).publish()
    assert find_target(Settings(data_dir=tmp_path)).tls == tls
    own = Settings(data_dir=tmp_path, tls_ca_file=Path("/certs/ca.pem"))
    assert find_target(own).tls == ClientTls(ca_file="/certs/ca.pem")


def test_without_a_running_one_the_settings_say_where(tmp_path: Path) -> None:
    """A server may listen on every address; a client needs one."""
    settings = Settings(data_dir=tmp_path, redis_url="unix:///store.sock")
    expected = Target("127.0.0.1:50051", "127.0.0.1:3002", None, "unix:///store.sock")
    assert find_target(settings) == expected
    assert find_target(replace(settings, bind_host="0.0.0.0")) == expected  # noqa: S104


def test_what_was_killed_or_stopped_is_not_found(here: Running, tmp_path: Path) -> None:
    """A file left behind by a killed service, or half of one, leads nowhere."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here.publish()
    assert running(tmp_path) == here
    here.withdraw()
    assert running(tmp_path) is None
    replace(here, pid=gone.pid).publish()
    assert running(tmp_path) is None
    (tmp_path / "run.json").write_text("{")
    assert running(tmp_path) is None


def test_the_token_is_for_this_user_alone(here: Running, tmp_path: Path) -> None:
    """Nobody else can read the file, no draft of it stays, and no repr shows the token."""
    here.publish()
    here.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o600
    assert "made-for-here" not in repr([here, find_target(Settings(data_dir=tmp_path))])
