"""Bearer tokens: proves who a caller is, by the one key and algorithm that the settings choose."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.config import Problem, Settings, SettingsError
from app.services.access import Principal, Unauthenticated
from app.services.key_server import KeyServer
from app.services.key_set import SHORTEST_RSA_KEY_BITS, KeySet

MAX_TOKEN_BYTES = 8192
LEEWAY_SECONDS = 5
_REQUIRED_CLAIMS = ["exp", "iat", "sub"]
_NOT_VALID = "the token is not valid here"


class TokenVerifier:
    """Checks tokens against the configured key or keys. Without any, every token is refused.

    Raises SettingsError when JWT_PUBLIC_KEY is no RSA key of at least 2048 bits.
    """

    def __init__(self, settings: Settings, key_set: KeySet | None = None) -> None:
        self._keys: Sequence[str | RSAPublicKey] = [
            secret for secret in (settings.jwt_hs256_secret, settings.jwt_hs256_secret_previous) if secret
        ]
        by_public_key = settings.jwt_public_key or settings.jwks_url or key_set
        self._algorithm = "RS256" if by_public_key else "HS256"
        if settings.jwt_public_key is not None:
            self._keys = [_rsa_key(settings.jwt_public_key)]
        self._key_set = key_set
        if settings.jwks_url is not None and key_set is None:
            self._key_set = KeySet(KeyServer(settings.jwks_url).fetch)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._jwt = jwt.PyJWT(
            {
                "require": _REQUIRED_CLAIMS,
                # Left on, PyJWT refuses a token that names an audience where none is configured.
                "verify_aud": self._audience is not None,
            }
        )

    async def verify(self, authorization: str | None) -> Principal:
        """The caller whom this Authorization value (`Bearer TOKEN`) proves.

        Raises Unauthenticated; KeysAway when only a key server that is away could tell. Gives way to other
        tasks only where a token names a key that has yet to be fetched: the order of calls is kept.
        """
        token = _bearer_token(authorization)
        claims = self._claims(token, await self._keys_for(token))
        subject, scope = claims["sub"], claims.get("scope", "")
        if not subject or not isinstance(scope, str):
            raise Unauthenticated("the token's sub or scope is not a text as wanted")
        return Principal(subject, frozenset(scope.split()))

    async def keep_fresh(self) -> None:
        """Keep the keys of a key server as they are there, until cancelled. Returns where there is none."""
        if self._key_set is not None:
            await self._key_set.keep_fresh()

    async def _keys_for(self, token: str) -> Sequence[str | RSAPublicKey]:
        if self._key_set is None:
            return self._keys
        key = await self._key_set.find(self._key_id(token))
        return [] if key is None else [key]

    def _key_id(self, token: str) -> str:
        """The `kid` of the token, not proven yet: good for looking a key up and for nothing else."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, UnicodeError):
            raise Unauthenticated(_NOT_VALID) from None
        if header.get("alg") != self._algorithm or not header.get("kid"):
            raise Unauthenticated(_NOT_VALID)
        key_id: str = header["kid"]
        return key_id

    def _claims(self, token: str, keys: Sequence[str | RSAPublicKey]) -> dict[str, Any]:
        if not self._keys and self._key_set is None:
            raise Unauthenticated("no key to check tokens with is configured")
        for key in keys:
            try:
                return self._jwt.decode(
                    token,
                    key,
                    algorithms=[self._algorithm],
                    issuer=self._issuer,
                    audience=self._audience,
                    leeway=LEEWAY_SECONDS,
                )
            except jwt.ExpiredSignatureError:
                raise Unauthenticated("the token has expired") from None
            except jwt.InvalidSignatureError:
                continue  # the other of two secrets may have signed it
            except (jwt.PyJWTError, UnicodeError):
                break
        raise Unauthenticated(_NOT_VALID)


def mint(
    settings: Settings, subject: str, scopes: Iterable[str] = (), *, lifetime_seconds: int = 3600
) -> str:
    """A token that these settings accept; needs JWT_HS256_SECRET."""
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
    if not isinstance(key, RSAPublicKey) or key.key_size < SHORTEST_RSA_KEY_BITS:
        wanted = f"wanted is an RSA key of at least {SHORTEST_RSA_KEY_BITS} bits"
        raise SettingsError([Problem(("JWT_PUBLIC_KEY",), wanted)])
    return key


def _bearer_token(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("a bearer token is needed")
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    return token
