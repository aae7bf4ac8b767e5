"""How the HTTP front end is started: every setting reaches gunicorn, and gunicorn knows it."""

import ast
import inspect

import pytest
from gunicorn.config import Config

from app.cli.serve import gunicorn_arguments
from app.config import Settings
from app.http import gunicorn_conf
from app.http.worker import HEAD_WITHIN_SECONDS

ASSIGNED = [
    target.id
    for node in ast.parse(inspect.getsource(gunicorn_conf)).body
    if isinstance(node, ast.Assign)
    for target in node.targets
    if isinstance(target, ast.Name)
]


@pytest.mark.parametrize("name", ASSIGNED)
def test_gunicorn_knows_what_it_is_told(name: str) -> None:
    """It passes over a name that it does not know, without a word."""
    Config().set(name, getattr(gunicorn_conf, name))


def test_an_idle_connection_ends_before_the_patience_for_a_stop() -> None:
    """Otherwise gunicorn kills its workers before they have closed what they hold."""
    assert max(gunicorn_conf.keepalive, HEAD_WITHIN_SECONDS) < gunicorn_conf.graceful_timeout


def test_the_settings_reach_gunicorn() -> None:
    """Address, processes and log level, as its own parser reads them."""
    settings = Settings(bind_host="::1", http_port=80, http_processes=3, log_level="warning")
    given = vars(Config().parser().parse_args(gunicorn_arguments(settings)))
    assert given["bind"] == ["[::1]:80"]
    assert (given["workers"], given["loglevel"]) == (3, "warning")
    assert given["config"] == f"python:{gunicorn_conf.__name__}"
