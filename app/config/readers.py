"""Readers: each turns the text of a variable into its value, or raises ValueError that says what is wanted.

Must never repeat a value that may be secret.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from app.config.addresses import is_loopback
from app.config.store_url import parse_store_url

DAY_MS = 86_400_000
_LARGEST_AMOUNT = 2**53 - 1
_SHORTEST_SECRET_BYTES = 32
_PUBLIC_PEM = re.compile(r"-----BEGIN (RSA )?PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+\n-----END \1?PUBLIC KEY-----")


def number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,19}", text) and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"{text!r} is not a whole number from {low} to {high}")

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() in choices:
            return text.lower()
        raise ValueError(f"{text!r} is not one of {', '.join(choices)}")

    return read


def switch(text: str) -> bool:
    return one_of("off", "on")(text) == "on"


def host(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        if not re.fullmatch(r"[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?", text):
            raise ValueError(f"{text!r} is not an address or a host name, without a port") from None
    return text


def redis_url(text: str) -> str:
    parse_store_url(text)
    return text


def http_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError("wanted is http://HOST:PORT or https://HOST:PORT")
    return text


def key_server_url(text: str) -> str:
    try:
        url = urlsplit(text)
        complete = url.hostname and url.port != 0 and not (url.username or url.password or url.fragment)
        safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname or ""))
    except ValueError:
        complete = safe = False
    if not complete or not safe or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("wanted is https://HOST/PATH (http:// only on this machine)")
    return text


def secret(text: str) -> str:
    if len(text.encode(errors="replace")) < _SHORTEST_SECRET_BYTES:
        raise ValueError(f"is too short; wanted are at least {_SHORTEST_SECRET_BYTES} bytes")
    if text.lstrip().startswith("-----BEGIN"):
        raise ValueError("is a PEM key; wanted is a shared secret (or set JWT_PUBLIC_KEY)")
    return text


def public_key(text: str) -> str:
    # Environment files have no line breaks, so PEM text often arrives with "\n" spelled out.
    pem = text.replace("\\n", "\n").replace("\r\n", "\n").strip()
    if not _PUBLIC_PEM.fullmatch(pem):
        raise ValueError("wanted is one public key as PEM text (-----BEGIN PUBLIC KEY-----)")
    return pem


def method_table(text: str) -> Mapping[str, frozenset[str]]:
    rows = [row.partition("=") for row in text.split()]
    table = {name: frozenset(methods.split(",")) for name, _, methods in rows}
    if len(table) < len(rows) or not all(name and all(methods) for name, methods in table.items()):
        raise ValueError("wanted is NAME=METHOD,METHOD NAME=*, each name once")
    return table


Port = Annotated[int, number(0, 65_535)]
Processes = Annotated[int, number(1, 256)]
Milliseconds = Annotated[int, number(1, 366 * DAY_MS)]
Chips = Annotated[int, number(0, _LARGEST_AMOUNT)]
PerSecond = Annotated[int, number(0, 1_000_000)]
Text = Annotated[str | None, str]
File = Annotated[Path | None, Path]
