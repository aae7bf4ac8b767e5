"""gRPC over TLS: the server's credentials, the channels of our own clients, the names in a certificate."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from app.config import Settings
from app.services.tls import ClientTls

Options = Sequence[tuple[str, Any]]


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """None without TLS. With TLS_CLIENT_CA_FILE nobody connects without a certificate of that authority."""
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    pair = (settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes())
    callers_ca = settings.tls_client_ca_file
    if callers_ca is None:
        return grpc.ssl_server_credentials([pair])
    return grpc.ssl_server_credentials([pair], callers_ca.read_bytes(), require_client_auth=True)


def channel(target: str, tls: ClientTls | None, options: Options = ()) -> grpc.Channel:
    """A channel to `target` (HOST:PORT), for code that waits."""
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, _credentials(tls), options=[*options, *_expected_name(tls)])


def aio_channel(target: str, tls: ClientTls | None, options: Options = ()) -> grpc.aio.Channel:
    """The same for asyncio."""
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, _credentials(tls), options=[*options, *_expected_name(tls)])


def names_of(auth_context: Mapping[str, Iterable[bytes]]) -> list[str]:
    """The DNS names and URIs of the caller's certificate. Not its common name, which proves nothing today."""
    names = [*auth_context.get("peer_dns", ()), *auth_context.get("peer_uri", ())]
    return [name.decode(errors="replace") for name in names]


def _credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    key, cert = (path and Path(path).read_bytes() for path in (tls.key_file, tls.cert_file))
    return grpc.ssl_channel_credentials(Path(tls.ca_file).read_bytes(), key or None, cert or None)


def _expected_name(tls: ClientTls) -> Options:
    return () if tls.server_name is None else (("grpc.ssl_target_name_override", tls.server_name),)
