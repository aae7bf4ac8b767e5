"""How commands find the service: options first, then what runs on the data folder, then the settings."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.target import Running, Target, find_target, running
from app.config import Settings


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
