"""Tokens as callers bring them: good ones, and every way in which one is bad."""

import time
from collections.abc import Callable
from typing import Any

import jwt

from app.services.tokens import LEEWAY_SECONDS, MAX_TOKEN_BYTES

SECRET = "a secret of sixty-four bytes, long enough for every kind of HMAC"


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims, changed; a claim set to None is left out."""
    now = int(time.time())
    good = {"sub": "alice", "scope": "balance:service", "iat": now, "exp": now + 60}
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm=algorithm)


def spoiled(token: str) -> str:
    """The token with claims that were not signed."""
    header, _, signature = token.split(".")
    return ".".join([header, signed(sub="bob").split(".")[1], signature])


# For whoever checks tokens with SECRET.
REFUSED: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no token": lambda: "not-a-token",
    "not even ASCII": lambda: "é.é.é",
    "half a character": lambda: "\udcff.a.b",
    "no signature": lambda: signed().rpartition(".")[0] + ".",
    "signed by another": lambda: signed("another secret of thirty-two bytes"),
    "claims changed after signing": lambda: spoiled(signed()),
    "alg none": lambda: jwt.encode(claims(), "", algorithm="none"),
    "alg HS512": lambda: signed(algorithm="HS512"),
    "expired": lambda: signed(exp=int(time.time()) - LEEWAY_SECONDS - 1),
    "not valid yet": lambda: signed(nbf=int(time.time()) + LEEWAY_SECONDS + 30),
    "issued in the future": lambda: signed(iat=int(time.time()) + LEEWAY_SECONDS + 30),
    "no exp": lambda: signed(exp=None),
    "no iat": lambda: signed(iat=None),
    "no sub": lambda: signed(sub=None),
    "empty sub": lambda: signed(sub=""),
    "sub that is a number": lambda: signed(sub=7),
    "exp that is no time": lambda: signed(exp="soon"),
    "exp beyond time": lambda: signed(exp=float("inf")),
    "scopes in a list": lambda: signed(scope=["balance:service"]),
    "too long": lambda: signed(padding="x" * MAX_TOKEN_BYTES),
}
