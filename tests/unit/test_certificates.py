"""Certificates: what their names allow, and which files are refused before anything listens."""

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from app.config import Settings, SettingsError
from app.http import gunicorn_conf
from app.services.access import Action, may
from app.services.certificates import CertificateTable
from app.services.tls import check_files
from tests.support.certificates import Authority

METHODS = ("Deposit", "GetBalance")
TABLE = CertificateTable({"poker": frozenset("*"), "spiffe://x/reports": frozenset({"GetBalance"})}, METHODS)


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (["poker"], {"Deposit", "GetBalance"}),
        (["spiffe://x/reports"], {"GetBalance"}),
        (["stranger", "spiffe://x/reports"], {"GetBalance"}),
        (["stranger"], set[str]()),
        (["*"], set[str]()),
        (["Poker"], set[str]()),
        (["poker.example"], set[str]()),
        ([], set[str]()),
    ],
)
def test_a_row_says_what_a_name_may_call(names: list[str], allowed: set[str]) -> None:
    """Names count whole, and whatever no row allows is refused: so is a method that nobody knew of."""
    found = {
        method for method in (*METHODS, "Unknown") if may(TABLE.principal(names, method), Action.CALL_SERVICE)
    }
    assert found - {"Unknown"} == allowed
    assert ("Unknown" in found) == ("poker" in names)


def test_a_certificate_never_makes_an_operator() -> None:
    """It stands for a service, and for no more."""
    assert not may(TABLE.principal(["poker"], "Deposit"), Action.OPERATE)


def test_a_method_that_there_is_not_is_refused_by_name() -> None:
    """A slip in a table of rights is not passed over."""
    with pytest.raises(SettingsError, match="TLS_CLIENT_METHODS: there is no method Deposits, deposit"):
        CertificateTable({"poker": frozenset({"deposit", "Deposits", "Deposit"})}, METHODS)


@pytest.fixture
def good(tmp_path: Path) -> Settings:
    """Settings whose files fit."""
    authority = Authority(tmp_path)
    server, client = authority.server(), authority.client("poker")
    return Settings(
        tls_cert_file=server.cert,
        tls_key_file=server.key,
        tls_client_ca_file=authority.cert,
        tls_client_methods={"poker": frozenset("*")},
        tls_ca_file=authority.cert,
        tls_client_cert_file=client.cert,
        tls_client_key_file=client.key,
    )


def test_files_that_fit_pass(good: Settings) -> None:
    """And so do settings without any."""
    check_files(good)
    check_files(Settings())


@pytest.mark.parametrize(
    "name",
    ["tls_cert_file", "tls_key_file", "tls_client_ca_file", "tls_ca_file", "tls_client_cert_file"],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(good: Settings, tmp_path: Path, name: str) -> None:
    """One that is not there, not PEM, or a folder; the refusal quotes nothing of what it holds."""
    junk = tmp_path / "junk"
    junk.write_text("-----BEGIN canary-----\n")
    for path in (junk, tmp_path / "missing", tmp_path):
        with pytest.raises(SettingsError, match=name.upper()) as refusal:
            check_files(replace(good, **{name: path}))  # type: ignore[arg-type]
        assert "canary" not in str(refusal.value)


def test_the_key_of_another_certificate_is_refused(good: Settings) -> None:
    """Found at the start, not by the first caller."""
    with pytest.raises(SettingsError, match=r"TLS_CERT_FILE, TLS_KEY_FILE: .* not of one pair"):
        check_files(replace(good, tls_key_file=good.tls_client_key_file))


def test_a_key_under_a_password_is_refused(good: Settings, tmp_path: Path) -> None:
    """Nobody is there to be asked for it."""
    locked = tmp_path / "locked.key"
    key = ec.generate_private_key(ec.SECP256R1())
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    )
    with pytest.raises(SettingsError, match="TLS_KEY_FILE"):
        check_files(replace(good, tls_key_file=locked))


def test_http_is_never_served_in_the_clear_by_mistake() -> None:
    """gunicorn takes no for an answer when it makes its context, but not the end of its process."""

    def broken() -> ssl.SSLContext:
        raise ssl.SSLError("no key")

    with pytest.raises(SystemExit):
        gunicorn_conf.ssl_context(None, broken)
    context = gunicorn_conf.ssl_context(None, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
