"""The gRPC server as a whole, in this process, on a real store."""

import asyncio
from dataclasses import replace

import pytest
from grpc.aio import _server

from app.bootstrap import open_front_end
from app.rpc.health import is_serving
from app.rpc.server import serve
from tests.support.ports import free_port
from tests.support.store import RealStore
from tests.support.waiting import LOOK_EVERY_SECONDS
from tests.support.workers import a_worker, settings_for


def test_no_method_is_registered_by_its_name(real_store: RealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once one is, gRPC may lose a call that comes as the server stops; which it does too rarely to wait for.

    Health is answered all the same.
    """
    registered: list[str] = []
    monkeypatch.setattr(
        _server.Server, "add_registered_method_handlers", lambda _, service, __: registered.append(service)
    )
    with a_worker(real_store):
        asyncio.run(_serve_until_healthy(real_store))
    assert registered == []


async def _serve_until_healthy(store: RealStore) -> None:
    """A server with all its services, until it says that it is serving."""
    settings = replace(settings_for(store), grpc_port=int(free_port()))
    stop = asyncio.Event()
    front_end = await open_front_end(settings)
    serving = asyncio.create_task(serve(settings, front_end, stop))
    try:
        async with asyncio.timeout(10):
            while True:
                if await is_serving(f"127.0.0.1:{settings.grpc_port}"):
                    break
                await asyncio.sleep(LOOK_EVERY_SECONDS)
    finally:
        stop.set()
        await serving
        await front_end.close()
