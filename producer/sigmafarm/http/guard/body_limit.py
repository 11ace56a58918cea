"""The size of bodies, and their time: a submission may be large, anything else is small. Checked as they are read."""

from __future__ import annotations

import asyncio

from anyio import move_on_after
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sigmafarm.http.guard.guard import Guard
from sigmafarm.http.problems import answer, problem_of
from sigmafarm_common.errors import TooLarge, TooSlow

#: The largest body of a request that is no submission: one with a prompt or two, and any other.
PROMPT_BODY_BYTES, SMALL_BODY_BYTES = 1 << 20, 64 << 10
#: Bytes a second of a body that make its deadline a second later.
LEAST_BYTES_S = 16 << 10
#: How much of a body that is refused is read and thrown away before the answer, and for how long.
DRAIN_BYTES, DRAIN_S = 16 << 20, 2.0


class BodyLimit:
    """ASGI middleware: answers 413 to a body that says it is too large, and stops reading one that does not say it."""

    def __init__(self, app: ASGIApp, guard: Guard):
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        max_bytes = self._max_bytes(scope["path"])
        said = request.headers.get("content-length", "")
        if said.isascii() and said.isdigit() and (len(said) > 18 or int(said) > max_bytes):
            await _drain(receive)
            await answer(request, TooLarge.http_status, problem_of(_too_large(max_bytes)))(scope, receive, send)
            return
        num_bytes, is_whole, waited_s = 0, False, 0.0
        clock = self._guard.clock

        async def count() -> Message:
            nonlocal num_bytes, is_whole, waited_s
            if is_whole:  # from now on one waits for the client to leave
                return await receive()
            begin_s = clock.monotonic_s()
            left_s = self._guard.config.body_wait_s + num_bytes / LEAST_BYTES_S - waited_s
            try:
                # Only the wait for the client counts, and what is there already is taken: not so with wait_for.
                async with asyncio.timeout(max(0.0, left_s)):
                    message = await receive()
            except TimeoutError:
                raise _too_slow(num_bytes) from None
            waited_s += clock.monotonic_s() - begin_s
            num_bytes += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if num_bytes > max_bytes:
                raise _too_large(max_bytes)
            return message

        await self._app(scope, count, send)

    def _max_bytes(self, path: str) -> int:
        if path in self._guard.large_bodies:
            return self._guard.config.max_body_bytes
        return PROMPT_BODY_BYTES if path in self._guard.prompt_bodies else SMALL_BODY_BYTES


async def _drain(receive: Receive) -> None:
    """Read on for a moment: a client that still sends when the connection closes may never see the answer."""
    num_bytes = 0
    with move_on_after(DRAIN_S):
        while num_bytes < DRAIN_BYTES:
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if not message.get("more_body", False):
                return


def _too_slow(num_bytes: int) -> TooSlow:
    return TooSlow(
        f"the body did not come in its time, {num_bytes} bytes of it: send it again, over a better line in parts, or "
        "raise SIGMAFARM_BODY_WAIT_S"
    )


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"the body is larger than {max_bytes} bytes, the most that is taken here: send it in parts, or raise "
        "SIGMAFARM_MAX_BODY_BYTES for submissions"
    )
