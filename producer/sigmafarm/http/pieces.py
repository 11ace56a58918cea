"""Answers that are read piece by piece while they are sent: pictures, zips."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Mapping

from anyio import CancelScope, CapacityLimiter, to_thread
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class Pieces(StreamingResponse):
    """Bytes, each piece waited for in a thread. What they come from is closed however the answer ends: sent whole, left
    by its client, or asked about by its head alone."""

    def __init__(
        self,
        pieces: Iterator[bytes],
        limiter: CapacityLimiter,
        *,
        media_type: str,
        headers: Mapping[str, str],
        status_code: int = 200,
    ):
        self._pieces, self._limiter = pieces, limiter
        super().__init__(self._read(), status_code, headers, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if isinstance(self._pieces, Generator):
                with CancelScope(shield=True):
                    await to_thread.run_sync(self._pieces.close)

    async def _read(self) -> AsyncIterator[bytes]:
        while (piece := await to_thread.run_sync(next, self._pieces, None, limiter=self._limiter)) is not None:
            yield piece
