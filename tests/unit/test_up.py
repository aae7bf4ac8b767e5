"""What `balance up` settles before it starts a process: folder, lock, ports, secret and token."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from app.cli.up import CouldNotRunError, _banner, prepared
from app.config import Settings
from tests.support.certificates import Authority, served_with

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with free ports, and a store elsewhere that nobody asks."""
    return {
        "DATA_DIR": str(tmp_path / "data"),
        "REDIS_URL": "unix:///nowhere",
        "HTTP_PORT": "0",
        "GRPC_PORT": "0",
        "METRICS_PORT": "0",
    }


def test_children_get_every_open_choice_settled(environ: dict[str, str], tmp_path: Path) -> None:
    """The folder is absolute, the ports are real and differ, and the rest of the environment is kept."""
    with prepared(environ | {"PATH": "/bin"}) as site:
        settings = Settings.from_environment(site.environ)
        assert site.environ["PATH"] == "/bin"
    assert settings == site.settings
    assert settings.data_dir == tmp_path / "data"
    assert settings.ready_requires_grpc
    assert len({settings.http_port, settings.grpc_port, settings.metrics_port, 0}) == 4
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_without_a_store_url_an_embedded_store_is_prepared(environ: dict[str, str]) -> None:
    """Children find it by REDIS_URL like any other store."""
    with prepared(environ | {"REDIS_URL": ""}) as site:
        assert site.store
        assert site.environ["REDIS_URL"] == site.store.url
    shutil.rmtree(site.store.socket.parent)


def test_a_folder_serves_one_at_a_time(environ: dict[str, str]) -> None:
    """The refusal says which folder and which process."""
    with prepared(environ), pytest.raises(CouldNotRunError) as caught, prepared(environ):
        pass
    assert str(caught.value) == (
        f"DATA_DIR {environ['DATA_DIR']} is in use by another balance up (pid {os.getpid()})"
    )
    with prepared(environ):
        pass  # and then the next


def test_a_folder_stays_taken_while_a_child_lives(environ: dict[str, str]) -> None:
    """Two servers on one folder would ruin it, so what a killed `balance up` left behind counts."""
    with prepared(environ) as site:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[site.lock]
        )
    with pytest.raises(CouldNotRunError, match="is in use"), prepared(environ):
        pass
    child.communicate(b"\n")
    with prepared(environ):
        pass


@pytest.mark.parametrize("name", ["HTTP_PORT", "GRPC_PORT", "METRICS_PORT"])
def test_a_port_in_use_is_refused_by_name(environ: dict[str, str], name: str) -> None:
    """Also where the other server would share it: each would answer some of the calls."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        with pytest.raises(CouldNotRunError) as caught, prepared(environ | {name: str(port)}):
            pass
    assert str(caught.value) == f"{name} {port} is in use"


def test_a_folder_that_cannot_be_made_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    """The message names the variable and the reason, without a stack trace."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(CouldNotRunError, match=r"DATA_DIR .*Not a directory"),
        prepared(environ | {"DATA_DIR": str(tmp_path / "file" / "data")}),
    ):
        pass


def test_a_development_secret_is_made_once(environ: dict[str, str], tmp_path: Path) -> None:
    """Tokens of the last run stay valid, and only this user can read what signs them."""
    with prepared(environ) as first, prepared(environ | {"DATA_DIR": str(tmp_path / "other")}) as other:
        pass
    with prepared(environ) as again:
        pass
    secret = first.environ["JWT_HS256_SECRET"]
    assert len(bytes.fromhex(secret)) == 32
    assert again.environ["JWT_HS256_SECRET"] == secret != other.environ["JWT_HS256_SECRET"]
    assert stat.S_IMODE((tmp_path / "data" / "dev-secret").stat().st_mode) == 0o600


def test_the_development_token_opens_everything(environ: dict[str, str]) -> None:
    """It carries the claims that are checked, and the issuer and audience where they are configured."""
    with prepared(environ | {"JWT_ISSUER": "lobby", "JWT_AUDIENCE": "chips"}) as site:
        pass
    assert site.token
    claims = jwt.decode(
        site.token,
        site.environ["JWT_HS256_SECRET"],
        algorithms=["HS256"],
        issuer="lobby",
        audience="chips",
        options={"require": ["exp", "iat", "sub"]},
    )
    assert (claims["sub"], claims["scope"]) == ("dev", "balance:service balance:ops")
    assert claims["exp"] - claims["iat"] == 30 * 86_400


def test_the_greeting_says_how_to_reach_it(environ: dict[str, str], tmp_path: Path) -> None:
    """With TLS, what to trust too; without a key, that it is for this machine only."""
    with prepared(environ) as site:
        plain = site.running()
    server = Authority(tmp_path).server()
    secured = served_with(server) | {"JWT_SECRET": KEY}
    with prepared(environ | secured) as site:
        tls = site.running()
    assert "on this machine only" in _banner(plain)
    assert f'curl -H "Authorization: Bearer $TOKEN" http://{plain.http}/' in _banner(plain)
    assert "on this machine only" not in _banner(tls)
    assert f"curl --cacert {server.cert} -H" in _banner(tls)
    assert f" https://{tls.http}/" in _banner(tls)


def test_the_greeting_shows_commands_that_can_be_typed(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its name where that leads to this very command, else as it was called: `make run` sets no PATH."""
    with prepared(environ) as site:
        running = site.running()
    (command := tmp_path / "balance").write_text("#!/bin/sh\n")
    command.chmod(0o700)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [str(command), "up"])
    assert f"\n  {command} verify\n" in _banner(running)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "\n  balance verify\n" in _banner(running)


def test_with_a_key_of_the_operator_no_token_is_made(environ: dict[str, str], tmp_path: Path) -> None:
    """Whoever brings a key decides who gets tokens."""
    with prepared(environ | {"JWT_SECRET": KEY}) as site:
        assert site.token is None
        assert site.settings.jwt_hs256_secret == KEY
    assert not (tmp_path / "data" / "dev-secret").exists()
