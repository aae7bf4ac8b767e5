"""Values that are each right alone and wrong together: what must not open a port or a door by mistake."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from app.config.addresses import is_loopback
from app.config.problems import Problem
from app.config.store_url import hosts_of

if TYPE_CHECKING:
    from app.config.settings import Settings


def conflicts(settings: "Settings") -> Iterator[Problem]:
    """Yield what is wrong with values that are each right alone."""
    ports = [
        ("HTTP_PORT", settings.http_port),
        ("GRPC_PORT", settings.grpc_port),
        ("METRICS_PORT", settings.metrics_port),
    ]
    for (one, port), (other, same) in combinations(ports, 2):
        if port == same != 0:
            yield Problem((one, other), f"both are {port}; each needs a port of its own")
    keys = [name for name in ("JWT_HS256_SECRET", "JWT_PUBLIC_KEY", "JWKS_URL") if _given(settings, name)]
    if len(keys) > 1:
        yield Problem(tuple(keys), "set together; tokens are checked with exactly one of them")
    if settings.serve_metrics and settings.http_processes > 1 and not settings.metrics_dir:
        yield Problem(
            ("SERVE_METRICS", "HTTP_PROCESSES", "METRICS_DIR"),
            "several processes show one page only where they have a folder to share",
        )
    for one, other, why in _TOGETHER:
        if _given(settings, one) and not _given(settings, other):
            yield Problem((one, other), f"the first is set without the second; {why}")
    if settings.ready_requires_grpc and settings.tls_client_ca_file and not settings.tls_client_cert_file:
        yield Problem(
            ("TLS_CLIENT_CA_FILE", "TLS_CLIENT_CERT_FILE"),
            "the service asks its own gRPC port whether it is ready, so it needs a client certificate too",
        )
    if not is_loopback(settings.bind_host):
        yield from _missing_when_exposed(settings)
    if _is_exposed_store(settings.redis_url) and not settings.allow_plaintext:
        yield Problem(
            ("REDIS_URL", "ALLOW_PLAINTEXT"),
            "the store is on another machine and the connection not encrypted;"
            " wanted is rediss:// (rediss+sentinel://) or ALLOW_PLAINTEXT=on",
        )


# The first makes no sense, or means less than its owner believes, without the second.
_TOGETHER = (
    ("JWT_HS256_SECRET_PREVIOUS", "JWT_HS256_SECRET", "the secret before is for while it is changed"),
    ("TLS_CERT_FILE", "TLS_KEY_FILE", "a certificate is served with its key"),
    ("TLS_KEY_FILE", "TLS_CERT_FILE", "a certificate is served with its key"),
    ("TLS_CLIENT_CA_FILE", "TLS_CERT_FILE", "certificates of callers come with TLS"),
    ("TLS_CLIENT_CA_FILE", "TLS_CLIENT_METHODS", "whom it names in no row may call nothing"),
    ("TLS_CLIENT_METHODS", "TLS_CLIENT_CA_FILE", "without a CA nobody's name is proven"),
    ("TLS_CLIENT_CERT_FILE", "TLS_CLIENT_KEY_FILE", "a certificate is shown with its key"),
    ("TLS_CLIENT_KEY_FILE", "TLS_CLIENT_CERT_FILE", "a certificate is shown with its key"),
    ("RATE_LIMIT_BURST", "RATE_LIMIT_PER_SECOND", "nothing is limited"),
)


def _given(settings: "Settings", variable: str) -> bool:
    return bool(getattr(settings, variable.lower()))


def _is_exposed_store(url: str | None) -> bool:
    in_the_clear = url is not None and url.startswith(("redis:", "redis+sentinel:"))
    return in_the_clear and not all(map(is_loopback, hosts_of(url or "")))


def _missing_when_exposed(settings: "Settings") -> Iterator[Problem]:
    host = settings.bind_host
    keys = "JWT_HS256_SECRET, JWT_PUBLIC_KEY or JWKS_URL"
    callers = "GRPC_AUTH=required or TLS_CLIENT_CA_FILE"
    secrecy = "TLS_CERT_FILE, or ALLOW_PLAINTEXT=on behind a proxy that adds TLS"
    wanted = [
        ("JWT_HS256_SECRET", keys, settings.has_jwt_key),
        ("GRPC_AUTH", callers, settings.grpc_auth == "required" or settings.tls_client_ca_file),
        ("ALLOW_PLAINTEXT", secrecy, settings.allow_plaintext or settings.tls_cert_file),
    ]
    for variable, what, fulfilled in wanted:
        if not fulfilled:
            yield Problem(("BIND_HOST", variable), f"{host} is open to other machines; set {what}")
