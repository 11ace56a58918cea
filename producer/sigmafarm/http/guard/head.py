"""HEAD on every route: what a GET would answer, without its body. Monitors and link checkers ask so."""

from __future__ import annotations

from anyio import CancelScope
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """ASGI middleware: lets the application answer a GET, passes its head on, and ends it with the first of its body:
    by then a stream has begun, and closes what it reads."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with CancelScope() as rest:

            async def send_head(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                elif not rest.cancel_called:
                    await send({"type": "http.response.body", "body": b""})
                    rest.cancel()

            headers = [each for each in scope["headers"] if each[0] != b"range"]  # parts are of a GET alone
            await self._app({**scope, "method": "GET", "headers": headers}, receive, send_head)
