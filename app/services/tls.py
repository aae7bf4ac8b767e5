"""TLS as the settings have it: files checked before anything listens, and how our own clients connect."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.config import Problem, Settings, SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """What a command or probe trusts, which name it expects, and the certificate that it shows to gRPC."""

    ca_file: str
    server_name: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None where neither an authority nor a certificate of the service is set: then there is no TLS."""
        trusted = settings.tls_ca_file or settings.tls_cert_file
        if trusted is None:
            return None
        return cls(
            ca_file=str(trusted.absolute()),
            server_name=settings.tls_server_name,
            cert_file=_absolute(settings.tls_client_cert_file),
            key_file=_absolute(settings.tls_client_key_file),
        )

    def context(self) -> ssl.SSLContext:
        """For HTTP. What is trusted may be the server's own certificate, without its authority."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # Python 3.13 and newer would refuse what gRPC takes, and older ones: an authority without key ids.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def check_files(settings: Settings) -> None:
    """Raise SettingsError unless every certificate and key that is set can be used."""
    checks: list[tuple[Callable[..., None], dict[str, Path | None]]] = [
        (_load_pair, {"TLS_CERT_FILE": settings.tls_cert_file, "TLS_KEY_FILE": settings.tls_key_file}),
        (_load_authority, {"TLS_CLIENT_CA_FILE": settings.tls_client_ca_file}),
        (_load_authority, {"TLS_CA_FILE": settings.tls_ca_file}),
        (
            _load_pair,
            {
                "TLS_CLIENT_CERT_FILE": settings.tls_client_cert_file,
                "TLS_CLIENT_KEY_FILE": settings.tls_client_key_file,
            },
        ),
    ]
    problems = []
    for load, files in checks:
        try:
            if None not in files.values():
                load(*files.values())
        except ssl.SSLError:
            problems.append(Problem(tuple(files), "no PEM text of what is wanted, or not of one pair"))
        except (OSError, ValueError) as error:
            problems.append(Problem(tuple(files), f"cannot be read: {error}"))
    if problems:
        raise SettingsError(problems)


def _load_pair(cert: Path, key: Path) -> None:
    # A key with a password would otherwise ask for it, on the terminal.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")


def _load_authority(path: Path) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
