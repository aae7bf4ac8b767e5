"""Callers of HTTP by the keys and limits of the settings: the real application, in this process."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from falcon import testing

from app.bootstrap import open_front_end
from app.config import Settings
from app.http.api import create_app
from app.services.tokens import mint
from tests.support.key_servers import PublishedKeys, key_server, published, signed
from tests.support.store import RealStore
from tests.support.tokens import REFUSED, SECRET
from tests.support.workers import settings_for

Ask = Callable[..., Awaitable[testing.Result]]


@pytest.fixture
def settings(real_store: RealStore) -> Settings:
    """Of a front end on the store of the session, where no account is open."""
    return settings_for(real_store)


@pytest.fixture
def keys() -> Iterator[PublishedKeys]:
    """A key server that publishes the key `one`."""
    with key_server(published("one")) as server:
        yield server


def tell(settings: Settings, story: Callable[[Ask], Awaitable[Any]]) -> None:
    """Run the application from its start to its end, and in between the story, which asks it."""

    async def run() -> None:
        app = create_app(settings, partial(open_front_end, settings))
        async with testing.ASGIConductor(app) as conductor:

            async def ask(token: str | None, path: str = "/api/accounts/alice/balance") -> testing.Result:
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                return await conductor.get(path, headers=headers)

            await story(ask)

    asyncio.run(run())


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "alice", "iat": 1, "exp": 2**32} | changes


def test_every_bad_token_is_none(settings: Settings) -> None:
    """Whatever is wrong with it: 401, the scheme that is wanted, and nothing of the token."""

    async def story(ask: Ask) -> None:
        for why, token in REFUSED.items():
            sent = token()
            if not sent.isascii():
                continue  # no header can carry it
            answer = await ask(sent)
            assert (answer.status_code, answer.json["error"]) == (401, "UNAUTHORIZED"), why
            assert answer.headers["WWW-Authenticate"] == "Bearer", why
            assert not sent or sent not in answer.text, why

    tell(replace(settings, jwt_hs256_secret=SECRET), story)


def test_who_calls_too_often_is_told_when_to_come_back(settings: Settings) -> None:
    """Nobody else is held up: not other subjects, not services, not what needs no token."""
    limited = replace(settings, jwt_hs256_secret=SECRET, rate_limit_per_second=1, rate_limit_burst=3)
    alice, bob = mint(limited, "alice"), mint(limited, "bob")
    service = mint(limited, "alice", ["balance:service"])

    async def story(ask: Ask) -> None:
        answers = [await ask(alice) for _ in range(50)]
        refused = next(answer for answer in answers if answer.status_code != 404)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
        assert refused.json["error"] == "RATE_LIMITED"
        assert refused.json["requestId"] == refused.headers["X-Request-Id"]
        assert [answer.status_code for answer in answers[:3]] == [404] * 3
        assert (await ask(bob)).status_code == 403
        assert {(await ask(service)).status_code for _ in range(50)} == {404}
        assert {(await ask(None, "/api/health")).status_code for _ in range(50)} == {200}

    tell(limited, story)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/accounts/alice/balance", 403),
        ("/api/transactions/000-aaaaaaaaaaaaaaaaaaaaaaaaaa", 403),
        ("/api/accounts/no%20account/balance", 400),
    ],
)
def test_calls_that_are_not_allowed_count_too(settings: Settings, path: str, status: int) -> None:
    """Whoever has a token could otherwise try the accounts of all others without end."""
    limited = replace(settings, jwt_hs256_secret=SECRET, rate_limit_per_second=1, rate_limit_burst=3)
    bob = mint(limited, "bob")

    async def story(ask: Ask) -> None:
        answers = [await ask(bob, path) for _ in range(50)]
        assert [answer.status_code for answer in answers[:3]] == [status] * 3
        assert 429 in {answer.status_code for answer in answers}
        assert (await ask(mint(limited, "alice"))).status_code == 404

    tell(limited, story)


def test_tokens_are_checked_by_the_key_server(settings: Settings, keys: PublishedKeys) -> None:
    """Asked once, from the start of the process on."""

    async def story(ask: Ask) -> None:
        assert (await ask(signed(claims(), "one"))).status_code == 404
        assert (await ask(signed(claims(sub="bob"), "one"))).status_code == 403
        assert (await ask(signed(claims(exp=2), "one"))).status_code == 401
        assert {(await ask(signed(claims(), f"random-{n}"))).status_code for n in range(50)} == {401}

    tell(replace(settings, jwks_url=keys.url), story)
    assert keys.fetches == 1


def test_without_the_key_server_only_who_is_known_passes(settings: Settings, keys: PublishedKeys) -> None:
    """Others are not called liars: 503, and when to come back. What cannot be a token is 401 all the same."""

    async def story(ask: Ask) -> None:
        away = await ask(signed(claims(), "one"))
        assert (away.status_code, away.headers["Retry-After"]) == (503, "1")
        assert (away.json["error"], away.json["message"]) == (
            "UNAVAILABLE",
            "the key server is away; nothing was done",
        )
        assert (await ask("nonsense")).status_code == 401
        assert (await ask(None)).status_code == 401

    keys.status = 500
    tell(replace(settings, jwks_url=keys.url), story)
