"""Takes a request's `traceparent` up, so that what it asks for belongs to the trace of its client."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sigmafarm_common.tracing import TRACEPARENT, Tracing


class TraceContext:
    """ASGI middleware, for a process that traces."""

    def __init__(self, app: ASGIApp, tracing: Tracing):
        self._app, self._tracing = app, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = Headers(scope=scope).get(TRACEPARENT, "") if scope["type"] == "http" else ""
        with self._tracing.below(lambda: said):
            await self._app(scope, receive, send)
