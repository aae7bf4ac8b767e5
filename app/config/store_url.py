"""REDIS_URL taken apart: one server, or a service whose primary sentinels know. Never shows a password."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

WANTED = (
    "wanted is redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix:///PATH"
    " or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB (rediss+sentinel:// with TLS)"
)
_SENTINEL = "+sentinel"
_SENTINEL_PORT = 26379
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/]+)(?::([0-9]{1,5}))?")


class StoreUrl(NamedTuple):
    """Where the store is. `server` is a plain URL; where there are `sentinels`, its host stands for nobody.

    `sentinels` are plain URLs too, each with the credentials for sentinels, which are not the server's.
    """

    server: str
    sentinels: tuple[str, ...] = ()
    service: str = ""

    def __repr__(self) -> str:
        return f"StoreUrl(sentinels={len(self.sentinels)}, service={self.service!r})"


def parse_store_url(text: str) -> StoreUrl:
    """Take a URL apart; raises ValueError that says what is wanted, and repeats nothing of it."""
    try:
        url = urlsplit(text)
        if url.scheme.endswith(_SENTINEL):
            return _by_sentinels(text)
        complete = url.path if url.scheme == "unix" else url.hostname and url.port != 0
    except ValueError:
        complete = None
    if not complete or url.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(WANTED) from None
    return StoreUrl(text)


def hosts_of(text: str) -> list[str]:
    """The hosts that a URL names, sentinels or server; none where it is a socket of this machine."""
    found = parse_store_url(text)
    return [host for each in found.sentinels or (found.server,) if (host := urlsplit(each).hostname)]


def _by_sentinels(text: str) -> StoreUrl:
    """`redis+sentinel://USER:PASSWORD@HOST:PORT,.../SERVICE/DB?sentinel_username=...&sentinel_password=...`.

    What else stands behind the question mark (`ssl_ca_certs`, ...) is meant for all connections.
    """
    url = urlsplit(text)
    scheme = url.scheme.removesuffix(_SENTINEL)
    login, _, hosts = url.netloc.rpartition("@")
    places = [_PLACE.fullmatch(host) for host in hosts.split(",")]
    service, _, database = url.path.removeprefix("/").partition("/")
    given = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
    user, password = (given.pop(f"sentinel_{name}", "") for name in ("username", "password"))
    query = f"?{urlencode(given)}" if given else ""
    if scheme not in ("redis", "rediss") or not all(places) or not service or not (database or "0").isdigit():
        raise ValueError(WANTED)
    mine = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    return StoreUrl(
        server=f"{scheme}://{login}{'@' if login else ''}localhost/{database or 0}{query}",
        sentinels=tuple(
            f"{scheme}://{mine}{place[1]}:{place[2] or _SENTINEL_PORT}{query}" for place in places if place
        ),
        service=unquote(service),
    )
