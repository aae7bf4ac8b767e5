"""REDIS_URL taken apart: which credentials, and which kind of connection, are for whom."""

import pytest
from redis import ConnectionPool

from app.config.store_url import StoreUrl, hosts_of, parse_store_url

CANARY = "canary"


def test_one_server_stays_as_it_is() -> None:
    """With everything that the client library knows."""
    for url in (
        "redis://user:word@host:6380/2",
        "rediss://host?ssl_ca_certs=/ca.pem",
        "unix:///run/store.sock",
    ):
        assert parse_store_url(url) == StoreUrl(url)
    assert hosts_of("redis://user:word@host:6380/2") == ["host"]
    assert hosts_of("unix:///run/store.sock") == []


def test_a_service_has_its_sentinels() -> None:
    """Each with the credentials for sentinels; the login and the database are the server's."""
    found = parse_store_url(
        "redis+sentinel://worker:a%2Fb@one:26380,[::1],three/chips/1?sentinel_username=w&sentinel_password=c%40d"
    )
    assert found.service == "chips"
    assert found.server == "redis://worker:a%2Fb@localhost/1"
    assert found.sentinels == (
        "redis://w:c%40d@one:26380",
        "redis://w:c%40d@[::1]:26379",
        "redis://w:c%40d@three:26379",
    )
    assert hosts_of("redis+sentinel://one,[::1]/chips") == ["one", "::1"]


def test_encryption_is_for_all_connections() -> None:
    """A password must not cross the network in the clear on its way to a sentinel."""
    found = parse_store_url("rediss+sentinel://one,two/chips?ssl_ca_certs=/ca.pem")
    for url in (found.server, *found.sentinels):
        pool = ConnectionPool.from_url(url)
        assert pool.connection_class.__name__ == "SSLConnection"
        assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"


@pytest.mark.parametrize(
    "url",
    [
        f"redis+sentinel://:{CANARY}@host/",
        f"redis+sentinel://:{CANARY}@host:x/chips",
        f"http://:{CANARY}@host",
        "redis+sentinel://host/chips?sentinel_password",
    ],
)
def test_a_refusal_says_what_is_wanted_and_repeats_nothing(url: str) -> None:
    with pytest.raises(ValueError, match="wanted is") as refusal:
        parse_store_url(url)
    assert CANARY not in str(refusal.value)


def test_it_is_not_shown() -> None:
    assert CANARY not in repr(parse_store_url(f"redis+sentinel://:{CANARY}@host/chips"))
