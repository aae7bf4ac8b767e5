"""Bearer tokens: only the one key and the one algorithm that the settings choose prove a caller."""

import asyncio
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.config import Settings, SettingsError
from app.services.access import Principal, Unauthenticated
from app.services.tokens import TokenVerifier, mint
from tests.support.tokens import REFUSED, SECRET, claims, signed

HS256 = Settings(jwt_hs256_secret=SECRET)
STRICT = Settings(jwt_hs256_secret=SECRET, jwt_issuer="https://login", jwt_audience="balance")


class Keys(NamedTuple):
    private: rsa.RSAPrivateKey
    public: str


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()


@pytest.fixture(scope="module")
def keys() -> Keys:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return Keys(private, pem_of(private))


def verify(settings: Settings, token: str) -> Principal:
    return asyncio.run(TokenVerifier(settings).verify(f"Bearer {token}"))


def test_a_good_token_proves_its_subject_and_scopes() -> None:
    """The scopes stand in one string, separated by spaces; none are none."""
    assert verify(HS256, signed(scope="balance:ops balance:service")) == Principal(
        "alice", frozenset({"balance:ops", "balance:service"})
    )
    assert verify(HS256, signed(scope=None)) == Principal("alice")


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_any_other_token_is_refused(token: Callable[[], str]) -> None:
    """Whatever is wrong with it, the caller is unauthenticated and never a fault of ours."""
    with pytest.raises(Unauthenticated):
        verify(HS256, token())


def test_a_refusal_quotes_nothing_of_the_token() -> None:
    """The text reaches the caller, and logs."""
    with pytest.raises(Unauthenticated) as refusal:
        verify(HS256, signed(sub="canary", exp=1))
    assert str(refusal.value) == "the token has expired"


def test_clocks_may_differ_a_little() -> None:
    """A token counts for a few seconds beyond its end."""
    assert verify(HS256, signed(exp=int(time.time()) - 1)).subject == "alice"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", signed()])
def test_only_a_bearer_token_counts(header: str | None) -> None:
    """Other schemes, and a token without one, prove nothing."""
    with pytest.raises(Unauthenticated):
        asyncio.run(TokenVerifier(HS256).verify(header))


def test_the_scheme_is_read_in_any_case() -> None:
    """As HTTP has it."""
    assert asyncio.run(TokenVerifier(HS256).verify(f"bearer {signed()}")).subject == "alice"


def test_issuer_and_audience_count_where_configured() -> None:
    """Both must be there and be right; where none is configured, a token may name any."""
    assert verify(STRICT, signed(iss="https://login", aud="balance")).subject == "alice"
    assert verify(STRICT, signed(iss="https://login", aud=["other", "balance"])).subject == "alice"
    assert verify(HS256, signed(iss="https://any", aud="any")).subject == "alice"
    for wrong in ({}, {"iss": "https://login"}, {"aud": "balance"}, {"iss": "https://x", "aud": "balance"},
                  {"iss": "https://login", "aud": "x"}):  # fmt: skip
        with pytest.raises(Unauthenticated):
            verify(STRICT, signed(**wrong))


def test_a_public_key_checks_what_its_private_key_signed(keys: Keys) -> None:
    """RS256, by the key in the settings."""
    token = jwt.encode(claims(), keys.private, algorithm="RS256")
    assert verify(Settings(jwt_public_key=keys.public), token).subject == "alice"


def test_the_public_key_is_no_secret_to_sign_with(keys: Keys) -> None:
    """A token that names HS256 and is signed with the public key, which anyone has, is refused."""
    header_and_claims = signed().rpartition(".")[0]
    signature = hmac.digest(keys.public.encode(), header_and_claims.encode(), "sha256")
    token = f"{header_and_claims}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(Unauthenticated):
        verify(Settings(jwt_public_key=keys.public), token)


@pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
def test_other_algorithms_of_the_same_key_are_refused(keys: Keys, algorithm: str) -> None:
    """The list holds one name."""
    with pytest.raises(Unauthenticated):
        verify(Settings(jwt_public_key=keys.public), jwt.encode(claims(), keys.private, algorithm=algorithm))


def test_each_kind_of_key_refuses_the_other_kind_of_token(keys: Keys) -> None:
    """The settings choose the algorithm, never the token."""
    with pytest.raises(Unauthenticated):
        verify(HS256, jwt.encode(claims(), keys.private, algorithm="RS256"))
    with pytest.raises(Unauthenticated):
        verify(Settings(jwt_public_key=keys.public), signed())


def test_while_a_secret_is_changed_both_count() -> None:
    """What the secret before signed stays good until it is taken away; new tokens are signed with the new."""
    new = "another secret of thirty-two bytes, at least"
    changing = Settings(jwt_hs256_secret=new, jwt_hs256_secret_previous=SECRET)
    assert verify(changing, signed()).subject == "alice"
    assert verify(changing, mint(changing, "bob")) == verify(
        Settings(jwt_hs256_secret=new), mint(changing, "bob")
    )
    for token, why in ((signed("s" * 32), "not valid"), (signed(exp=1), "expired")):
        with pytest.raises(Unauthenticated, match=why):
            verify(changing, token)
    with pytest.raises(Unauthenticated):
        verify(Settings(jwt_hs256_secret=new), signed())


def test_a_key_that_is_known_makes_nobody_wait() -> None:
    """Not for one turn of the event loop: the calls of a connection would change their order."""
    with pytest.raises(StopIteration):
        TokenVerifier(HS256).verify(f"Bearer {signed()}").send(None)


def test_without_a_key_every_token_is_refused() -> None:
    """A service that cannot check tokens lets nobody in."""
    with pytest.raises(Unauthenticated):
        verify(Settings(), signed())


@pytest.mark.parametrize(
    "pem",
    [
        lambda: pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505
        lambda: pem_of(ec.generate_private_key(ec.SECP256R1())),
        lambda: "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqh\n-----END PUBLIC KEY-----",
    ],
    ids=["short", "not RSA", "broken"],
)
def test_a_key_that_cannot_be_trusted_stops_the_start(pem: Callable[[], str]) -> None:
    """The message names the variable."""
    with pytest.raises(SettingsError, match="JWT_PUBLIC_KEY: wanted is an RSA key"):
        TokenVerifier(Settings(jwt_public_key=pem()))


def test_a_minted_token_is_accepted_by_the_same_settings() -> None:
    """With issuer and audience, where they are configured."""
    assert verify(STRICT, mint(STRICT, "dev", ["balance:ops"])) == Principal(
        "dev", frozenset({"balance:ops"})
    )
    with pytest.raises(ValueError, match="JWT_HS256_SECRET"):
        mint(Settings(), "dev")
