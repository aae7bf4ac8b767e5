"""Settings of every process: read once from the environment, checked as a whole, then frozen.

Must never show a secret, and must never let a mistake open a port or a door.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

_DAY_MS = 86_400_000
_LARGEST_AMOUNT = 2**53 - 1
_SHORTEST_SECRET_BYTES = 32
_PUBLIC_PEM = re.compile(r"-----BEGIN (RSA )?PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+\n-----END \1?PUBLIC KEY-----")

# The first name is the setting; the others are accepted in its place, one at a time.
_OTHER_NAMES: Mapping[str, Sequence[str]] = {
    "JWT_HS256_SECRET": ("JWT_SECRET", "JWT_HS256_SECRET_FILE"),
    "JWT_HS256_SECRET_PREVIOUS": ("JWT_HS256_SECRET_PREVIOUS_FILE",),
    "JWT_PUBLIC_KEY": ("JWT_PUBLIC_KEY_FILE",),
    "REDIS_URL": ("REDIS_URL_FILE",),
}


class Problem(NamedTuple):
    """What is wrong with the values of these variables, and what is wanted instead."""

    variables: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{', '.join(self.variables)}: {self.text}"


class SettingsError(ValueError):
    """The environment cannot be used; `problems` holds every reason, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,19}", text) and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"{text!r} is not a whole number from {low} to {high}")

    return read


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() in choices:
            return text.lower()
        raise ValueError(f"{text!r} is not one of {', '.join(choices)}")

    return read


def _switch(text: str) -> bool:
    return _one_of("off", "on")(text) == "on"


def _host(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        if not re.fullmatch(r"[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?", text):
            raise ValueError(f"{text!r} is not an address or a host name, without a port") from None
    return text


def _redis_url(text: str) -> str:
    # The value is not repeated in the message: it may hold a password.
    try:
        url = urlsplit(text)
        complete = url.path if url.scheme == "unix" else url.hostname and url.port != 0
    except ValueError:
        complete = None
    if not complete or url.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("wanted is redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH")
    return text


def _http_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError("wanted is http://HOST:PORT or https://HOST:PORT")
    return text


def _key_server_url(text: str) -> str:
    try:
        url = urlsplit(text)
        complete = url.hostname and url.port != 0 and not (url.username or url.password or url.fragment)
        safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname or ""))
    except ValueError:
        complete = safe = False
    if not complete or not safe or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("wanted is https://HOST/PATH (http:// only on this machine)")
    return text


def _secret(text: str) -> str:
    if len(text.encode(errors="replace")) < _SHORTEST_SECRET_BYTES:
        raise ValueError(f"is too short; wanted are at least {_SHORTEST_SECRET_BYTES} bytes")
    if text.lstrip().startswith("-----BEGIN"):
        raise ValueError("is a PEM key; wanted is a shared secret (or set JWT_PUBLIC_KEY)")
    return text


def _public_key(text: str) -> str:
    # Environment files have no line breaks, so PEM text often arrives with "\n" spelled out.
    pem = text.replace("\\n", "\n").replace("\r\n", "\n").strip()
    if not _PUBLIC_PEM.fullmatch(pem):
        raise ValueError("wanted is one public key as PEM text (-----BEGIN PUBLIC KEY-----)")
    return pem


def _method_table(text: str) -> Mapping[str, frozenset[str]]:
    rows = [row.partition("=") for row in text.split()]
    table = {name: frozenset(methods.split(",")) for name, _, methods in rows}
    if len(table) < len(rows) or not all(name and all(methods) for name, methods in table.items()):
        raise ValueError("wanted is NAME=METHOD,METHOD NAME=*, each name once")
    return table


Port = Annotated[int, _number(0, 65_535)]
Processes = Annotated[int, _number(1, 256)]
Milliseconds = Annotated[int, _number(1, 366 * _DAY_MS)]
Chips = Annotated[int, _number(0, _LARGEST_AMOUNT)]
PerSecond = Annotated[int, _number(0, 1_000_000)]
Text = Annotated[str | None, str]
File = Annotated[Path | None, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting; each is read from the variable of its name in capitals.

    `.env.example` says what each one means. An empty variable counts as not set.
    """

    bind_host: Annotated[str, _host] = "127.0.0.1"
    http_port: Port = 3002
    grpc_port: Port = 50051
    metrics_port: Port = 9102
    workers: Processes = 1
    grpc_processes: Processes = 1
    http_processes: Processes = 1
    max_waiting_commands: Annotated[int, _number(1, 1_000_000)] = 4096
    ready_requires_grpc: bool = False

    data_dir: Annotated[Path, Path] = Path("var")
    redis_url: Annotated[str | None, _redis_url] = field(default=None, repr=False)
    store_memory_mb: Annotated[int | None, _number(16, 2**32)] = None
    partitions: Annotated[int, _number(1, 999)] = 64
    allow_weak_durability: bool = False
    allow_plaintext: bool = False

    jwt_hs256_secret: Annotated[str | None, _secret] = field(default=None, repr=False)
    jwt_hs256_secret_previous: Annotated[str | None, _secret] = field(default=None, repr=False)
    jwt_public_key: Annotated[str | None, _public_key] = field(default=None, repr=False)
    jwks_url: Annotated[str | None, _key_server_url] = None
    jwt_issuer: Text = None
    jwt_audience: Text = None
    grpc_auth: Literal["off", "required"] = "off"
    player_deposits: Literal["deny", "allow"] = "deny"
    rate_limit_per_second: PerSecond = 0
    rate_limit_burst: Annotated[int | None, _number(1, 1_000_000)] = None
    service_rate_limit_per_second: PerSecond = 0

    tls_cert_file: File = None
    tls_key_file: File = None
    tls_client_ca_file: File = None
    tls_client_methods: Annotated[Mapping[str, frozenset[str]] | None, _method_table] = None
    tls_ca_file: File = None
    tls_server_name: Annotated[str | None, _host] = None
    tls_client_cert_file: File = None
    tls_client_key_file: File = None

    reservation_timeout_ms: Annotated[int, _number(1, _DAY_MS)] = 30_000
    reservation_expiry_interval_ms: Milliseconds = 5_000
    ledger_verification_interval_ms: Milliseconds = 60_000
    idempotency_ttl_ms: Milliseconds = _DAY_MS
    table_bank: Literal["observe", "enforce"] = "observe"
    rake_basis_points: Annotated[int, _number(0, 10_000)] = 500
    rake_cap_chips: Chips = 5
    rake_min_pot_chips: Chips = 20

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otel_exporter_otlp_endpoint: Annotated[str | None, _http_url] = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read and check every variable; raise one SettingsError that names all problems."""
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, hint in get_type_hints(cls, include_extras=True).items():
            try:
                if text := _text(environ, name.upper()):
                    values[name] = _reader(hint)(text)
            except ValueError as error:
                problems.append(Problem((name.upper(),), str(error)))
        settings = cls(**values)
        unread = {name for problem in problems for name in problem.variables}
        problems += [found for found in _conflicts(settings) if unread.isdisjoint(found.variables)]
        if problems:
            raise SettingsError(problems)
        return settings

    @property
    def has_jwt_key(self) -> bool:
        """Whether tokens can be checked at all; without a key every token is refused."""
        return bool(self.jwt_hs256_secret or self.jwt_public_key or self.jwks_url)


def variables() -> tuple[str, ...]:
    """Return the name of every variable that is read."""
    names = [name.upper() for name in get_type_hints(Settings)]
    return (*names, *(name for others in _OTHER_NAMES.values() for name in others))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the host; a name other than localhost never counts."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int) -> str:
    """Join host and port as clients and servers write it, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(environ: Mapping[str, str], variable: str) -> str:
    """Return the variable's text, "" if not set, from whichever of its names or files has it."""
    names = (variable, *_OTHER_NAMES.get(variable, ()))
    given = [name for name in names if environ.get(name)]
    if len(given) > 1:
        raise ValueError(f"only one of {', '.join(given)} may be set")
    if not given:
        return ""
    text = environ[given[0]]
    if given[0] == variable or not given[0].endswith("_FILE"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        # Not the error's own text: of a file that is not UTF-8 it would quote the secret.
        raise ValueError(f"{given[0]} {text!r} cannot be read as text") from None


def _reader(hint: Any) -> Callable[[str], object]:
    """Return what turns the text of a variable of this type into its value."""
    if hint is bool:
        return _switch
    if get_origin(hint) is Literal:
        return _one_of(*get_args(hint))
    reader: Callable[[str], object] = get_args(hint)[1]
    return reader


def _conflicts(settings: Settings) -> Iterator[Problem]:
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
    store = urlsplit(settings.redis_url or "")
    exposed_store = store.scheme == "redis" and not is_loopback(store.hostname or "")
    if exposed_store and not settings.allow_plaintext:
        yield Problem(
            ("REDIS_URL", "ALLOW_PLAINTEXT"),
            "the store is on another machine and the connection not encrypted;"
            " wanted is rediss:// or ALLOW_PLAINTEXT=on",
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


def _given(settings: Settings, variable: str) -> bool:
    return bool(getattr(settings, variable.lower()))


def _missing_when_exposed(settings: Settings) -> Iterator[Problem]:
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
