"""Tokens are proven once a second: what was proven is remembered for that long, and nothing else is."""

import asyncio

import pytest

from app.config import Settings
from app.http import callers
from app.http.callers import Callers
from app.services.access import Principal, Unauthenticated
from app.services.tokens import TokenVerifier, mint

SETTINGS = Settings(jwt_hs256_secret="a secret of at least thirty-two bytes")


class CountingVerifier(TokenVerifier):
    """The real one; counts what it was asked."""

    def __init__(self) -> None:
        super().__init__(SETTINGS)
        self.asked = 0

    async def verify(self, authorization: str | None) -> Principal:
        self.asked += 1
        return await super().verify(authorization)


def bearer(subject: str) -> str:
    return f"Bearer {mint(SETTINGS, subject)}"


def test_a_token_is_proven_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token proves its own caller, however often and in whatever order they call."""
    monkeypatch.setattr(callers, "REMEMBERED_SECONDS", 3_600.0)

    async def scenario() -> list[str]:
        found = Callers(verifier)
        tokens = [bearer("alice"), bearer("bob")] * 3
        return [(await found.identify(token)).subject for token in tokens]

    verifier = CountingVerifier()
    assert asyncio.run(scenario()) == ["alice", "bob"] * 3
    assert verifier.asked == 2


def test_what_was_proven_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """By time, and when there are too many."""

    async def asked(name: str, value: float) -> int:
        monkeypatch.setattr(callers, name, value)
        verifier = CountingVerifier()
        found = Callers(verifier)
        for token in (alice, bob, alice):
            await found.identify(token)
        return verifier.asked

    alice, bob = bearer("alice"), bearer("bob")
    assert asyncio.run(asked("REMEMBERED_SECONDS", 0.0)) == 3
    monkeypatch.setattr(callers, "REMEMBERED_SECONDS", 3_600.0)
    assert asyncio.run(asked("MAX_REMEMBERED", 1)) == 3


@pytest.mark.parametrize("authorization", [None, "", "Bearer nonsense", "Basic YTpi"])
def test_who_proved_nothing_is_nobody(authorization: str | None) -> None:
    """The second time as the first."""

    async def scenario() -> None:
        found = Callers(TokenVerifier(SETTINGS))
        await found.identify(bearer("alice"))
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await found.identify(authorization)

    asyncio.run(scenario())
