"""A line a request: what changes something at INFO, what failed by our fault at WARNING, the rest at DEBUG.

It names the route, not the address: a query may hold a prompt.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sigmafarm.http.guard.auth import SAFE_METHODS
from sigmafarm_common.clock import Clock

#: Where a request's scope holds the id of the key that it came with.
KEY_ID = "sigmafarm.key_id"

_log = structlog.get_logger("sigmafarm.http")


class AccessLog:
    """ASGI middleware that writes the line when the answer begins, and notes the path, the status and the seconds."""

    def __init__(self, app: ASGIApp, clock: Clock, note: Callable[[str, int, float], None]):
        self._app, self._clock, self._note = app, clock, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin_s = self._clock.monotonic_s()

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                took_s = self._clock.monotonic_s() - begin_s
                self._note(scope["path"], message["status"], took_s)
                _tell(scope, message["status"], took_s)
            await send(message)

        await self._app(scope, receive, send_and_tell if scope["type"] == "http" else send)


def _tell(scope: Scope, status: int, took_s: float) -> None:
    level = "warning" if status >= 500 else "debug" if scope["method"] in SAFE_METHODS else "info"
    route = getattr(scope.get("route"), "path", "")
    key = {"key": scope[KEY_ID]} if KEY_ID in scope else {}
    said = {"method": scope["method"], "route": route, "status": status, "ms": round(1000 * took_s, 1)}
    getattr(_log, level)("request", **said, **key)
