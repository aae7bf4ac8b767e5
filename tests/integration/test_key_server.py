"""JWKS_URL against a real key server: what it may answer, and what a token then proves."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import jwt
import pytest

from app.config import Settings
from app.services.access import Principal, Unauthenticated
from app.services.faults import KeysAway
from app.services.key_server import MOST_BYTES, KeyServer
from app.services.tokens import TokenVerifier
from tests.support.certificates import Authority
from tests.support.key_servers import PublishedKeys, document, key_server, published, rsa_key, signed


def fetched(url: str, seconds: float = 10) -> bytes:
    return asyncio.run(KeyServer(url, seconds).fetch())


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "alice", "iat": now, "exp": now + 60} | changes


def verified(server: PublishedKeys, *tokens: str) -> list[Principal | type[Exception]]:
    """What one verifier says to each token in turn."""

    async def run() -> list[Principal | type[Exception]]:
        verifier, said = TokenVerifier(Settings(jwks_url=server.url)), list[Principal | type[Exception]]()
        for token in tokens:
            try:
                said.append(await verifier.verify(f"Bearer {token}"))
            except (Unauthenticated, KeysAway) as error:
                said.append(type(error))
        return said

    return asyncio.run(run())


def test_a_token_is_checked_with_the_key_that_it_names() -> None:
    """And with no other, though that one is published too."""
    one, other = rsa_key(1), rsa_key(2)
    with key_server(published("one", one), published("other", other)) as server:
        assert verified(
            server,
            signed(claims(), "one", one),
            signed(claims(), "other", other),
            signed(claims(), "one", other),
            signed(claims(), "none", one),
        ) == [Principal("alice"), Principal("alice"), Unauthenticated, Unauthenticated]
        assert server.fetches == 1


@pytest.mark.parametrize(
    "token",
    [
        lambda: signed(claims(), None),
        lambda: signed(claims(), ""),
        lambda: jwt.encode(claims(), "s" * 32, algorithm="HS256", headers={"kid": "one"}),
        lambda: jwt.encode(claims(), rsa_key(), algorithm="RS512", headers={"kid": "one"}),
        lambda: jwt.encode(claims(), "", algorithm="none", headers={"kid": "one"}),
        lambda: "not-a-token",
        lambda: "é.é.é",
    ],
    ids=["no kid", "empty kid", "HS256", "RS512", "none", "no token", "not even ASCII"],
)
def test_what_can_be_no_token_of_ours_costs_no_fetch(token: Any) -> None:
    """The key server is asked for the keys of RS256 tokens alone."""
    with key_server(published("one")) as server:
        assert verified(server, token()) == [Unauthenticated]
        assert server.fetches == 0


def test_a_key_named_by_address_is_not_looked_at() -> None:
    """`jku` and `jwk` in a token's header would let it bring its own key."""
    own = rsa_key(2)
    with key_server(published("one")) as server, key_server(published("one", own)) as evil:
        headers = {"kid": "one", "jku": evil.url, "x5u": evil.url, "jwk": published("one", own)}
        token = jwt.encode(claims(), own, algorithm="RS256", headers=headers)
        assert verified(server, token) == [Unauthenticated]
        assert evil.fetches == 0


def test_a_key_server_that_is_away_is_no_fault_of_the_caller() -> None:
    """They are told that the service is not available, and not that their token is bad."""
    with key_server() as server:
        gone = server
    assert verified(gone, signed(claims(), "one")) == [KeysAway]


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 500])
def test_only_a_plain_answer_counts(status: int) -> None:
    """No redirect is followed, to whatever address."""
    with key_server(published("one")) as elsewhere, key_server(published("one")) as server:
        server.status, server.headers = status, {"Location": elsewhere.url}
        with pytest.raises(HTTPException):
            fetched(server.url)
        assert elsewhere.fetches == 0


def test_an_endless_answer_is_cut_off() -> None:
    """Both where the server says how long it is and where it does not."""
    with key_server() as server:
        server.body = b"x" * (MOST_BYTES + 1)
        with pytest.raises(HTTPException):
            fetched(server.url)
        server.body = b"x" * MOST_BYTES
        assert fetched(server.url) == server.body


@contextmanager
def dripping() -> Iterator[int]:
    """A server that sends one more byte of a header for ever; its port."""
    gone = threading.Event()

    def drip() -> None:
        peer, _ = listener.accept()
        with peer:
            try:
                peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not gone.wait(0.02):
                    peer.sendall(b"x")
            except OSError:
                gone.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            gone.set()
            thread.join()


def test_a_server_that_never_ends_is_left() -> None:
    """A byte now and then does not hold the fetch: its time is for the whole."""
    with dripping() as port, pytest.raises((OSError, HTTPException)):
        fetched(f"http://127.0.0.1:{port}/", seconds=0.3)


def test_over_https_the_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the authorities of the machine: whoever answers in its place has no keys for us."""
    authority = Authority(tmp_path, strict=True)
    with key_server(published("one"), certificate=authority.server()) as server:
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            fetched(server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
        assert fetched(server.url) == document(published("one"))
