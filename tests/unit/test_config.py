"""Settings: what is accepted, what is refused and how the refusal reads."""

import re
from itertools import pairwise, product
from pathlib import Path

import pytest

from app.config import Settings, SettingsError, address, is_loopback, variables

SECRET = "0123456789abcdef0123456789abcdef"
PEM = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqh\nkiG9w0BAQEF=\n-----END PUBLIC KEY-----"
TLS = {"TLS_CERT_FILE": "cert.pem", "TLS_KEY_FILE": "key.pem"}
MUTUAL = TLS | {"TLS_CLIENT_CA_FILE": "callers.pem", "TLS_CLIENT_METHODS": "poker=*"}
EXAMPLE = Path(__file__).parents[2] / ".env.example"


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ)
    return str(caught.value)


def test_an_empty_environment_gives_the_defaults() -> None:
    """Nothing needs to be set, and an empty variable counts as not set."""
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"HTTP_PORT": "", "REDIS_URL": ""}) == Settings()


def test_every_kind_of_value_is_read() -> None:
    """Numbers, choices, switches, folders and texts arrive as their own types."""
    settings = Settings.from_environment(
        {
            "HTTP_PORT": "0",
            "TABLE_BANK": "Enforce",
            "ALLOW_WEAK_DURABILITY": "on",
            "DATA_DIR": "/srv/chips",
            "JWT_ISSUER": "lobby",
            "REDIS_URL": "unix:///run/store.sock",
        }
    )
    assert settings.http_port == 0
    assert settings.table_bank == "enforce"
    assert settings.allow_weak_durability is True
    assert settings.data_dir == Path("/srv/chips")
    assert settings.jwt_issuer == "lobby"
    assert settings.redis_url == "unix:///run/store.sock"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "-1"),
        ("HTTP_PORT", "1_000"),
        ("HTTP_PORT", "\u0663"),
        ("WORKERS", "0"),
        ("PARTITIONS", "0"),
        ("PARTITIONS", "1000"),
        ("RESERVATION_TIMEOUT_MS", "0"),
        ("RESERVATION_EXPIRY_INTERVAL_MS", "5.0"),
        ("RAKE_BASIS_POINTS", "10001"),
        ("RAKE_CAP_CHIPS", "9007199254740992"),
        ("LOG_LEVEL", "verbose"),
        ("TABLE_BANK", "off"),
        ("GRPC_AUTH", "on"),
        ("ALLOW_PLAINTEXT", "yes"),
        ("BIND_HOST", "127.0.0.1:80"),
        ("REDIS_URL", "http://127.0.0.1"),
        ("REDIS_URL", "redis:///0?host=elsewhere"),
        ("REDIS_URL", "redis://127.0.0.1:notaport"),
        ("REDIS_URL", "unix://"),
        ("REDIS_URL", "redis+sentinel://127.0.0.1:26379"),
        ("REDIS_URL", "redis+sentinel:///chips/0"),
        ("REDIS_URL", "redis+sentinel://127.0.0.1:26379,/chips/0"),
        ("REDIS_URL", "redis+sentinel://127.0.0.1:26379/chips/zero"),
        ("REDIS_URL", "unix+sentinel://127.0.0.1:26379/chips/0"),
        ("WAIT_REPLICAS", "-1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
        ("JWT_PUBLIC_KEY", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
        ("JWT_PUBLIC_KEY_FILE", "/does/not/exist"),
        ("JWT_HS256_SECRET", SECRET[1:]),
        ("JWT_HS256_SECRET", PEM),
        ("JWT_HS256_SECRET_PREVIOUS", SECRET[1:]),
        ("JWKS_URL", "http://keys.example/jwks"),
        ("JWKS_URL", "http://10.0.0.1/jwks"),
        ("JWKS_URL", "file:///etc/passwd"),
        ("JWKS_URL", "https://"),
        ("JWKS_URL", "https://keys.example:0/jwks"),
        ("JWKS_URL", "https://name:word@keys.example/jwks"),
        ("JWKS_URL", "https://keys.example/jwks\r\nX: y"),
        ("TLS_CLIENT_METHODS", "poker"),
        ("TLS_CLIENT_METHODS", "poker="),
        ("TLS_CLIENT_METHODS", "=*"),
        ("TLS_CLIENT_METHODS", "poker=Deposit,"),
        ("TLS_CLIENT_METHODS", "poker=Deposit poker=Withdraw"),
        ("RATE_LIMIT_PER_SECOND", "0.5"),
        ("RATE_LIMIT_BURST", "0"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(variable: str, value: str) -> None:
    """The message begins with the variable, so that nobody has to search for it."""
    message = refusal(**{variable: value})
    assert re.match(rf"{variable.removesuffix('_FILE')}: .+", message)
    assert "\n" not in message


def test_all_problems_come_in_one_error() -> None:
    """Whoever corrects the environment needs one round, not one for each mistake."""
    message = refusal(HTTP_PORT="http", PARTITIONS="0", GRPC_PORT="9102")
    assert [line.split(":")[0] for line in message.splitlines()] == [
        "HTTP_PORT",
        "PARTITIONS",
        "GRPC_PORT, METRICS_PORT",
    ]


def test_ports_differ_unless_they_are_picked_later() -> None:
    """Two servers cannot share a port by mistake; 0 stands for any free one."""
    assert "both are 3002" in refusal(GRPC_PORT="3002")
    assert Settings.from_environment({"HTTP_PORT": "0", "GRPC_PORT": "0"}).grpc_port == 0


def test_several_processes_show_one_page_where_they_share_a_folder() -> None:
    """Else each scrape would be of one of them, by chance."""
    several = {"SERVE_METRICS": "on", "HTTP_PROCESSES": "2"}
    assert refusal(**several).startswith("SERVE_METRICS, HTTP_PROCESSES, METRICS_DIR: ")
    assert Settings.from_environment(several | {"METRICS_DIR": "counts"}).metrics_dir == Path("counts")


def test_tokens_are_checked_with_exactly_one_key() -> None:
    """A secret and a public key together would let the token choose its algorithm."""
    assert "exactly one" in refusal(JWT_HS256_SECRET=SECRET, JWT_PUBLIC_KEY=PEM)
    assert "only one of" in refusal(JWT_HS256_SECRET=SECRET, JWT_SECRET=SECRET)
    assert refusal(JWT_SECRET=SECRET, JWT_PUBLIC_KEY=PEM, JWKS_URL="https://keys.example/jwks").startswith(
        "JWT_HS256_SECRET, JWT_PUBLIC_KEY, JWKS_URL: "
    )


def test_a_secret_and_a_key_may_come_from_files_or_under_another_name(tmp_path: Path) -> None:
    """Orchestrators mount secrets as files; the line break at the end is not part of them."""
    secret, key = tmp_path / "secret", tmp_path / "key"
    secret.write_text(f"{SECRET}\n")
    key.write_text(f"{PEM}\n")
    assert Settings.from_environment({"JWT_HS256_SECRET_FILE": str(secret)}).jwt_hs256_secret == SECRET
    assert Settings.from_environment({"JWT_SECRET": SECRET}).jwt_hs256_secret == SECRET
    assert Settings.from_environment({"JWT_PUBLIC_KEY_FILE": str(key)}).jwt_public_key == PEM
    assert Settings.from_environment({"JWT_PUBLIC_KEY": PEM.replace("\n", "\\n")}).jwt_public_key == PEM
    both = {"JWT_SECRET": SECRET[::-1], "JWT_HS256_SECRET_PREVIOUS_FILE": str(secret)}
    assert Settings.from_environment(both).jwt_hs256_secret_previous == SECRET
    secret.write_text("redis://:word@127.0.0.1")
    assert Settings.from_environment({"REDIS_URL_FILE": str(secret)}).redis_url == "redis://:word@127.0.0.1"


KEYS: dict[str, dict[str, str]] = {
    "no key": {},
    "secret": {"JWT_SECRET": SECRET},
    "public key": {"JWT_PUBLIC_KEY": PEM},
    "key server": {"JWKS_URL": "https://keys.example/jwks"},
}
CALLERS: dict[str, dict[str, str]] = {
    "any caller": {},
    "tokens": {"GRPC_AUTH": "required"},
    "certificates": MUTUAL,
}
WIRES: dict[str, dict[str, str]] = {"clear": {}, "TLS": TLS, "consent": {"ALLOW_PLAINTEXT": "on"}}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "balance"])  # noqa: S104
@pytest.mark.parametrize(("keys", "callers", "wire"), list(product(KEYS, CALLERS, WIRES)))
def test_listening_beyond_loopback_needs_every_consent(host: str, keys: str, callers: str, wire: str) -> None:
    """The service is never open to other machines by accident: without keys, to anyone, or in the clear."""
    environ = {"BIND_HOST": host} | KEYS[keys] | CALLERS[callers] | WIRES[wire]
    missing = set()
    if not is_loopback(host):
        missing = {
            *(["JWT_HS256_SECRET"] if keys == "no key" else []),
            *(["GRPC_AUTH"] if callers == "any caller" else []),
            *(["ALLOW_PLAINTEXT"] if wire == "clear" and callers != "certificates" else []),
        }
    if not missing:
        assert Settings.from_environment(environ).bind_host == host
        return
    problems = refusal(**environ).splitlines()
    assert {line.partition(":")[0] for line in problems} == {f"BIND_HOST, {name}" for name in missing}


@pytest.mark.parametrize(
    ("alone", "missing"),
    [
        ({"JWT_HS256_SECRET_PREVIOUS": SECRET}, "JWT_HS256_SECRET"),
        ({"TLS_CERT_FILE": "cert.pem"}, "TLS_KEY_FILE"),
        ({"TLS_KEY_FILE": "key.pem"}, "TLS_CERT_FILE"),
        ({"TLS_CLIENT_CA_FILE": "callers.pem", "TLS_CLIENT_METHODS": "poker=*"}, "TLS_CERT_FILE"),
        (MUTUAL | {"TLS_CLIENT_METHODS": ""}, "TLS_CLIENT_METHODS"),
        ({"TLS_CLIENT_METHODS": "poker=*"}, "TLS_CLIENT_CA_FILE"),
        ({"TLS_CLIENT_CERT_FILE": "cert.pem"}, "TLS_CLIENT_KEY_FILE"),
        ({"TLS_CLIENT_KEY_FILE": "key.pem"}, "TLS_CLIENT_CERT_FILE"),
        (MUTUAL | {"READY_REQUIRES_GRPC": "on"}, "TLS_CLIENT_CERT_FILE"),
        ({"RATE_LIMIT_BURST": "5"}, "RATE_LIMIT_PER_SECOND"),
    ],
)
def test_what_means_nothing_alone_is_refused(alone: dict[str, str], missing: str) -> None:
    """Its owner would believe in a protection that is not there."""
    assert refusal(**alone).partition(":")[0].endswith(f", {missing}")


def test_a_method_table_is_read() -> None:
    """Names are DNS names or URIs; methods are checked where methods are known."""
    table = Settings.from_environment(
        MUTUAL | {"TLS_CLIENT_METHODS": "poker=* spiffe://x/y=GetBalance,Deposit"}
    )
    assert table.tls_client_methods == {
        "poker": frozenset("*"),
        "spiffe://x/y": frozenset({"GetBalance", "Deposit"}),
    }


def test_a_store_elsewhere_needs_encryption_or_consent() -> None:
    """Balances and passwords do not cross a network in the clear unless someone said so."""
    remote = "redis://:secret@store:6379/0"
    assert "ALLOW_PLAINTEXT=on" in refusal(REDIS_URL=remote)
    assert Settings.from_environment({"REDIS_URL": remote, "ALLOW_PLAINTEXT": "on"}).redis_url == remote
    assert Settings.from_environment({"REDIS_URL": "rediss://store:6379"}).redis_url
    assert Settings.from_environment({"REDIS_URL": "redis://[::1]:6379"}).redis_url
    assert "ALLOW_PLAINTEXT=on" in refusal(REDIS_URL="redis+sentinel://127.0.0.1,sentinel-2/chips")
    assert Settings.from_environment({"REDIS_URL": "rediss+sentinel://sentinel-1,sentinel-2/chips"}).redis_url


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither the settings nor a refusal repeat a secret, not even one that cannot be read."""
    canary = "canary-canary-canary-canary-canary"
    shown = repr(
        Settings.from_environment({"JWT_SECRET": canary, "REDIS_URL": f"redis://:{canary}@127.0.0.1/0"})
    )
    (tmp_path / "broken").write_bytes(canary.encode() + b"\xff")
    shown += refusal(
        JWT_HS256_SECRET_FILE=str(tmp_path / "broken"),
        JWT_PUBLIC_KEY=canary,
        REDIS_URL=f"redis://:{canary}@store:notaport",
    )
    shown += refusal(REDIS_URL=f"redis+sentinel://:{canary}@store:notaport/chips?sentinel_password={canary}")
    assert canary not in shown


def test_the_example_lists_every_variable_with_its_default_and_meaning() -> None:
    """`.env.example` cannot fall behind the code."""
    lines = EXAMPLE.read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert sorted(given) == sorted(variables())
    assert Settings.from_environment(given) == Settings()
    filled = [name for name, value in given.items() if value]
    defaults = [name for name in variables() if getattr(Settings(), name.lower(), None) is not None]
    assert sorted(filled) == sorted(defaults)
    for before, line in pairwise(lines):
        assert not line.partition("=")[0].isupper() or before.startswith("# "), line


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.53", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("localhost.example", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    """What cannot be told apart counts as reachable from elsewhere."""
    assert is_loopback(host) is expected


def test_an_address_can_be_read_back() -> None:
    """IPv6 hosts stand in brackets."""
    assert [address("127.0.0.1", 80), address("::1", 80)] == ["127.0.0.1:80", "[::1]:80"]
