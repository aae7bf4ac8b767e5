"""Bearer tokens: proves who a caller is, by the one key and algorithm that the settings choose."""

import time
from collections.abc import Iterable
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.config import Problem, Settings, SettingsError
from app.services.access import Principal, Unauthenticated

MAX_TOKEN_BYTES = 8192
LEEWAY_SECONDS = 5
_SHORTEST_RSA_KEY_BITS = 2048
_REQUIRED_CLAIMS = ["exp", "iat", "sub"]


class TokenVerifier:
    """Checks tokens against the configured key. Without a key every token is refused.

    Raises SettingsError when JWT_PUBLIC_KEY is no RSA key of at least 2048 bits.
    """

    def __init__(self, settings: Settings) -> None:
        self._key: str | RSAPublicKey | None = settings.jwt_hs256_secret
        self._algorithms = ["HS256"]
        if settings.jwt_public_key is not None:
            self._key = _rsa_key(settings.jwt_public_key)
            self._algorithms = ["RS256"]
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._jwt = jwt.PyJWT(
            {
                "require": _REQUIRED_CLAIMS,
                # Left on, PyJWT refuses a token that names an audience where none is configured.
                "verify_aud": self._audience is not None,
            }
        )

    def verify(self, authorization: str | None) -> Principal:
        """The caller whom this Authorization value (`Bearer TOKEN`) proves; raises Unauthenticated."""
        claims = self._claims(_bearer_token(authorization))
        subject, scope = claims["sub"], claims.get("scope", "")
        if not subject or not isinstance(scope, str):
            raise Unauthenticated("the token's sub or scope is not a text as wanted")
        return Principal(subject, frozenset(scope.split()))

    def _claims(self, token: str) -> dict[str, Any]:
        if self._key is None:
            raise Unauthenticated("no key to check tokens with is configured")
        try:
            return self._jwt.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired") from None
        except (jwt.PyJWTError, UnicodeError):
            raise Unauthenticated("the token is not valid here") from None


def mint(
    settings: Settings, subject: str, scopes: Iterable[str] = (), *, lifetime_seconds: int = 3600
) -> str:
    """A token that these settings accept; needs JWT_HS256_SECRET. For development and tests."""
    if settings.jwt_hs256_secret is None:
        raise ValueError("a token can only be minted with JWT_HS256_SECRET")
    now = int(time.time())
    claims = {"sub": subject, "scope": " ".join(scopes), "iat": now, "exp": now + lifetime_seconds}
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience is not None:
        claims["aud"] = settings.jwt_audience
    return jwt.encode(claims, settings.jwt_hs256_secret, algorithm="HS256")


def _rsa_key(pem: str) -> RSAPublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < _SHORTEST_RSA_KEY_BITS:
        wanted = f"wanted is an RSA key of at least {_SHORTEST_RSA_KEY_BITS} bits"
        raise SettingsError([Problem(("JWT_PUBLIC_KEY",), wanted)])
    return key


def _bearer_token(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("a bearer token is needed")
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    return token
