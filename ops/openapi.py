"""Writes ops/openapi.json, the published HTTP interface, from the routes (`make openapi`)."""

import json
from pathlib import Path
from typing import Any

from app.http.api import api_routes
from app.http.life import FrontEndLife
from app.http.openapi import document
from app.services.front_end import FrontEnd

COMMITTED = Path(__file__).with_name("openapi.json")


def current() -> dict[str, Any]:
    """The document as the service would serve it."""

    async def never() -> FrontEnd:
        raise RuntimeError("the routes are only looked at")

    return document(api_routes(FrontEndLife(never), None, player_deposits=False))


if __name__ == "__main__":
    COMMITTED.write_text(json.dumps(current(), indent=1) + "\n", encoding="utf-8")
