"""The keys of a key server: when they are fetched, which are taken, and what stays when it is away."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.services.faults import KeysAway
from app.services.key_set import FETCH_GAP_SECONDS, KeySet, keys_of
from tests.support.key_servers import document, published, rsa_key


class Publisher:
    """What a key server would answer, and a clock; counts how often it is asked."""

    def __init__(self, *key_ids: str) -> None:
        self.key_ids = key_ids
        self.away = False
        self.fetches = 0
        self.seconds = 0.0
        self.asked = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()

    async def fetch(self) -> bytes:
        self.fetches += 1
        self.asked.set()
        await self.answering.wait()
        if self.away:
            raise OSError("canary")
        return document(*(published(key_id) for key_id in self.key_ids))

    def key_set(self) -> KeySet:
        return KeySet(self.fetch, lambda: self.seconds)

    def later(self) -> None:
        self.seconds += FETCH_GAP_SECONDS


def run(story: Callable[[Publisher, KeySet], Awaitable[Any]], *key_ids: str) -> Any:
    """Tell the story of a key set whose server publishes these keys."""

    async def told() -> Any:
        publisher = Publisher(*key_ids)
        return await story(publisher, publisher.key_set())

    return asyncio.run(told())


def test_a_thousand_unknown_ids_are_one_fetch() -> None:
    """One after the other or at once: tokens with made-up ids must not send us to the key server at will."""

    async def story(publisher: Publisher, keys: KeySet) -> None:
        at_once = await asyncio.gather(*(keys.find(f"random-{n}") for n in range(500)))
        in_turn = [await keys.find(f"random-{n}") for n in range(500, 1000)]
        assert {*at_once, *in_turn} == {None}
        assert publisher.fetches == 1

    run(story, "a")


def test_a_new_key_is_found_when_the_gap_is_over() -> None:
    """A key server may change its keys; the old one, published no more, counts no more."""

    async def story(publisher: Publisher, keys: KeySet) -> None:
        assert await keys.find("a")
        publisher.key_ids = ("b",)
        assert await keys.find("b") is None
        publisher.later()
        assert await keys.find("b")
        assert await keys.find("a") is None
        assert publisher.fetches == 2

    run(story, "a")


def test_known_keys_outlast_their_server() -> None:
    """Others cannot be judged: that is not the caller's fault, and the next fetch waits for the gap too."""

    async def story(publisher: Publisher, keys: KeySet) -> None:
        assert await keys.find("a")
        publisher.away = True
        publisher.later()
        for _ in range(100):
            assert await keys.find("a")
            with pytest.raises(KeysAway):
                await keys.find("b")
        assert publisher.fetches == 2
        publisher.away = False
        publisher.later()
        assert await keys.find("b") is None

    run(story, "a")


def test_before_the_first_answer_nobody_can_be_judged() -> None:
    """A start without the key server lets nobody in and calls nobody a liar."""

    async def story(publisher: Publisher, keys: KeySet) -> None:
        publisher.away = True
        with pytest.raises(KeysAway):
            await keys.find("a")
        publisher.away = False
        publisher.later()
        assert await keys.find("a")

    run(story, "a")


def test_nobody_waits_for_a_fetch_but_who_needs_it() -> None:
    """Known keys are found while a fetch hangs; a caller who gives up does not end it for the others."""

    async def story(publisher: Publisher, keys: KeySet) -> None:
        assert await keys.find("a")
        publisher.later()
        publisher.key_ids = ("a", "b")
        publisher.answering.clear()
        hurried, patient = (asyncio.create_task(keys.find("b")) for _ in range(2))
        await asyncio.sleep(0)
        assert await keys.find("a")
        hurried.cancel()
        publisher.answering.set()
        assert await patient
        assert publisher.fetches == 2

    run(story, "a")


def test_the_keys_are_fetched_before_anyone_asks() -> None:
    """The first call after a start finds them."""

    async def story(publisher: Publisher, keys: KeySet) -> None:
        fresh = asyncio.create_task(keys.keep_fresh())
        await publisher.asked.wait()
        assert await keys.find("a")
        fresh.cancel()
        assert publisher.fetches == 1

    run(story, "a")


def test_a_failed_fetch_is_logged_without_what_was_fetched(caplog: pytest.LogCaptureFixture) -> None:
    """Errors of parsers quote what they parse."""

    async def story(publisher: Publisher, keys: KeySet) -> None:
        publisher.away = True
        with pytest.raises(KeysAway) as refusal:
            await keys.find("a")
        assert str(refusal.value) == "the key server is away; nothing was done"

    run(story)
    assert caplog.messages == ["JWKS_URL gives no keys (OSError); 0 known"]


EC_KEY = ec.generate_private_key(ec.SECP256R1())
NOT_TAKEN: dict[str, Any] = {
    "short": published("other", rsa_key(bits=1024)),
    "for encryption": published("other", use="enc"),
    "for nobody knows what": published("other", use=None),
    "another algorithm": published("other", alg="RS512"),
    "PSS": published("other", alg="PS256"),
    "HMAC with an RSA key": published("other", alg="HS256"),
    "without id": published("other", kid=None),
    "id that is empty": published(""),
    "elliptic": ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True) | {"kid": "other", "use": "sig"},
    "secret": {"kty": "oct", "k": "AAAA", "kid": "other", "use": "sig", "alg": "HS256"},
    "private": RSAAlgorithm.to_jwk(rsa_key(), as_dict=True) | {"kid": "other", "use": "sig", "alg": "RS256"},
    "broken": {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "other", "use": "sig"},
    "no key": "other",
}


@pytest.mark.parametrize("other", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_only_strong_rsa_keys_for_signatures_are_taken(other: Any) -> None:
    """Whatever else is published is passed over, and alone it is no key set at all."""
    assert set(keys_of(document(other, published("good")))) == {"good"}
    with pytest.raises(Exception, match=r"usable|no RSA key"):
        keys_of(document(other))


def test_a_key_need_not_name_its_algorithm() -> None:
    """RFC 7517 leaves it out; ours is RS256 all the same."""
    assert set(keys_of(document(published("good", alg=None)))) == {"good"}


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff", b"[]", b"{}", b'{"keys": []}', b'{"keys": 7}', b"[" * 100_000, json.dumps("x").encode()],
)
def test_what_is_no_key_set_leaves_the_keys_as_they_were(text: bytes) -> None:
    """However broken it is."""

    async def story(publisher: Publisher, keys: KeySet) -> None:
        assert await keys.find("a")

        async def broken() -> bytes:
            return text

        keys._fetch = broken
        publisher.later()
        with pytest.raises(KeysAway):
            await keys.find("b")
        assert await keys.find("a")

    run(story, "a")
