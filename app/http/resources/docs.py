"""The published interface, for programs and for people. All that the page needs is served from here."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from http import HTTPStatus
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from falcon.asgi import Request, Response

from app.http.errors import ApiError
from app.http.openapi import document
from app.http.operations import Operation, Operations, Resource

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DAY = "public, max-age=86400"


class OpenApi:
    """/api/openapi.json."""

    operations: ClassVar[Operations] = {"GET": Operation(access=None)}

    def __init__(self, routes: Mapping[str, Resource]) -> None:
        self._document: Callable[[], dict[str, Any]] = cache(partial(document, routes))

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.media = self._document()


class Page:
    """/api/docs."""

    operations: ClassVar[Operations] = {"GET": Operation(access=None)}

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("Content-Security-Policy", _POLICY)
        resp.data = _own("index.html")


class Asset:
    """/api/docs/{name}."""

    operations: ClassVar[Operations] = {"GET": Operation(access=None)}

    async def on_get(self, _req: Request, resp: Response, name: str) -> None:
        if name not in _ASSETS:
            raise ApiError(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND.phrase)
        resp.content_type, read = _ASSETS[name]
        resp.set_header("Cache-Control", _DAY)
        resp.data = read()


@cache
def _own(name: str) -> bytes:
    return files("app.http").joinpath("docs", name).read_bytes()


@cache
def _of_swagger_ui(name: str) -> bytes:
    # Not by importing offapi: that reads several pages of megabytes, each with everything inline.
    package = find_spec("offapi")
    if package is None or package.origin is None:
        raise FileNotFoundError("offapi is not installed")
    return Path(package.origin).with_name(name).read_bytes()


_ASSETS: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "page.js": ("text/javascript; charset=utf-8", partial(_own, "page.js")),
    "swagger-ui.js": ("text/javascript; charset=utf-8", partial(_of_swagger_ui, "swagger_bundle.js")),
    "swagger-ui.css": ("text/css; charset=utf-8", partial(_of_swagger_ui, "swagger_style.css")),
}
