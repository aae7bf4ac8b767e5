"""Requests that know whether their body came whole: Falcon takes a connection that broke for a body's end."""

from typing import Any

from falcon.asgi import Request


class WholeRequest(Request):
    """`context.cut_off` is True once the connection broke, or stood still for too long, within the body."""

    def __init__(self, scope: Any, receive: Any, *args: Any, **options: Any) -> None:
        async def noticing() -> Any:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.context.cut_off = True
            return event

        super().__init__(scope, noticing, *args, **options)
        self.context.cut_off = False
