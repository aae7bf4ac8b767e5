"""A key server of the tests' own, on a port of this machine, and keys to publish there."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.support.certificates import Certificate


@cache
def rsa_key(_number: int = 1, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A private key, the same one for the same number."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def published(key_id: str, key: rsa.RSAPrivateKey | None = None, **changes: Any) -> dict[str, Any]:
    """The public half as a member of a key set, changed; a change to None leaves the name out."""
    public = RSAAlgorithm.to_jwk((key or rsa_key()).public_key(), as_dict=True)
    whole = {name: value for name, value in public.items() if name != "key_ops"}
    whole |= {"kid": key_id, "use": "sig", "alg": "RS256"} | changes
    return {name: value for name, value in whole.items() if value is not None}


def document(*keys: Any) -> bytes:
    """A key set as it is sent."""
    return json.dumps({"keys": keys}).encode()


def signed(claims: dict[str, Any], key_id: str | None, key: rsa.RSAPrivateKey | None = None) -> str:
    """An RS256 token that names this key."""
    headers = None if key_id is None else {"kid": key_id}
    return jwt.encode(claims, key or rsa_key(), algorithm="RS256", headers=headers)


class PublishedKeys(ThreadingHTTPServer):
    """Answers every GET with `body` and `status`, and counts them."""

    daemon_threads = True

    def __init__(self, body: bytes = b"") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.status = 200
        self.headers: dict[str, str] = {}
        self.fetches = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/jwks"

    def secure(self, certificate: Certificate) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "https"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: PublishedKeys

    def do_GET(self) -> None:
        self.server.fetches += 1
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The test's output is not for access logs."""


@contextmanager
def key_server(*keys: Any, certificate: Certificate | None = None) -> Iterator[PublishedKeys]:
    """A running key server that publishes these keys."""
    with PublishedKeys(document(*keys)) as server:
        if certificate is not None:
            server.secure(certificate)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
