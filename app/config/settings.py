"""Settings of every process: read once from the environment, checked as a whole, then frozen.

Must never show a secret, and must never let a mistake open a port or a door.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints

from app.config import readers
from app.config.conflicts import conflicts
from app.config.problems import Problem, SettingsError
from app.config.readers import DAY_MS, Chips, File, Milliseconds, PerSecond, Port, Processes, Text

# The first name is the setting; the others are accepted in its place, one at a time.
_OTHER_NAMES: Mapping[str, Sequence[str]] = {
    "JWT_HS256_SECRET": ("JWT_SECRET", "JWT_HS256_SECRET_FILE"),
    "JWT_HS256_SECRET_PREVIOUS": ("JWT_HS256_SECRET_PREVIOUS_FILE",),
    "JWT_PUBLIC_KEY": ("JWT_PUBLIC_KEY_FILE",),
    "REDIS_URL": ("REDIS_URL_FILE",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting; each is read from the variable of its name in capitals.

    `.env.example` says what each one means. An empty variable counts as not set.
    """

    bind_host: Annotated[str, readers.host] = "127.0.0.1"
    http_port: Port = 3002
    grpc_port: Port = 50051
    metrics_port: Port = 9102
    metrics_host: Annotated[str, readers.host] = "127.0.0.1"
    metrics_dir: File = None
    serve_metrics: bool = False
    workers: Processes = 1
    grpc_processes: Processes = 1
    http_processes: Processes = 1
    max_waiting_commands: Annotated[int, readers.number(1, 1_000_000)] = 4096
    ready_requires_grpc: bool = False

    data_dir: Annotated[Path, Path] = Path("var")
    redis_url: Annotated[str | None, readers.redis_url] = field(default=None, repr=False)
    store_memory_mb: Annotated[int | None, readers.number(16, 2**32)] = None
    partitions: Annotated[int, readers.number(1, 999)] = 64
    allow_weak_durability: bool = False
    allow_lost_commits: bool = False
    wait_replicas: Annotated[int, readers.number(0, 16)] = 0
    allow_plaintext: bool = False

    jwt_hs256_secret: Annotated[str | None, readers.secret] = field(default=None, repr=False)
    jwt_hs256_secret_previous: Annotated[str | None, readers.secret] = field(default=None, repr=False)
    jwt_public_key: Annotated[str | None, readers.public_key] = field(default=None, repr=False)
    jwks_url: Annotated[str | None, readers.key_server_url] = None
    jwt_issuer: Text = None
    jwt_audience: Text = None
    grpc_auth: Literal["off", "required"] = "off"
    player_deposits: Literal["deny", "allow"] = "deny"
    rate_limit_per_second: PerSecond = 0
    rate_limit_burst: Annotated[int | None, readers.number(1, 1_000_000)] = None
    service_rate_limit_per_second: PerSecond = 0

    tls_cert_file: File = None
    tls_key_file: File = None
    tls_client_ca_file: File = None
    tls_client_methods: Annotated[Mapping[str, frozenset[str]] | None, readers.method_table] = None
    tls_ca_file: File = None
    tls_server_name: Annotated[str | None, readers.host] = None
    tls_client_cert_file: File = None
    tls_client_key_file: File = None

    reservation_timeout_ms: Annotated[int, readers.number(1, DAY_MS)] = 30_000
    reservation_expiry_interval_ms: Milliseconds = 5_000
    ledger_verification_interval_ms: Milliseconds = 60_000
    full_verification_period_ms: Milliseconds = DAY_MS
    stuck_pot_ms: Milliseconds = 3_600_000
    event_feed_length: Annotated[int, readers.number(1, 10**9)] = 100_000
    event_reader_timeout_ms: Milliseconds = 7 * DAY_MS
    idempotency_ttl_ms: Milliseconds = DAY_MS
    command_state_ttl_ms: Annotated[int, readers.number(1_000, 3_650 * DAY_MS)] = 7 * DAY_MS
    fault_window_commands: Annotated[int, readers.number(1, 100_000)] = 100
    fault_limit_percent: Annotated[int, readers.number(0, 100)] = 20
    table_bank: Literal["observe", "enforce"] = "observe"
    rake_basis_points: Annotated[int, readers.number(0, 10_000)] = 500
    rake_cap_chips: Chips = 5
    rake_min_pot_chips: Chips = 20

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_accounts: Literal["plain", "hashed", "off"] = "plain"
    otel_exporter_otlp_endpoint: Annotated[str | None, readers.http_url] = field(default=None, repr=False)
    otel_traces_percent: Annotated[int, readers.number(1, 100)] = 100

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
        problems += [found for found in conflicts(settings) if unread.isdisjoint(found.variables)]
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
        return readers.switch
    if get_origin(hint) is Literal:
        return readers.one_of(*get_args(hint))
    reader: Callable[[str], object] = get_args(hint)[1]
    return reader
