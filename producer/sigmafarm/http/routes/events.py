"""What happens, as it happens: server-sent events of the farm or of one batch, resumed by Last-Event-ID."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from sigmafarm.http.feed import READ_LIMIT, Heard, Wants, heard, resync
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import Reader
from sigmafarm.http.guard.crowd import Kind
from sigmafarm.http.path_params import BatchId
from sigmafarm.http.schemas import problems
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.errors import FarmUnavailable, FieldError, InvalidRequest
from sigmafarm_common.store.ids import EVENT_ID
from sigmafarm_common.store.values import Event
from sigmafarm_common.validation import shown

router = APIRouter(tags=["events"])

#: Seconds of silence after which a comment says that the stream lives.
HEARTBEAT_S = 15.0
#: Events that are looked at to catch up; whoever is further behind is told to look at everything again.
REPLAY_LIMIT = 5_000
#: Milliseconds after which a browser comes back when a stream ends.
RETRY_MS = 2_000

_STREAM: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "content": {
                "text/event-stream": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "event": {"type": "string", "description": "What happened, such as job.succeeded."},
                            "id": {"type": "string"},
                            "data": {"type": "string", "description": "JSON: id, kind, batch_id, job_id and more."},
                            "retry": {"type": "integer"},
                        },
                    },
                }
            },
            "description": "Events, until the client goes. `resync`: something was missed, look at everything again.",
        },
        **problems(404),
    },
}

LastEventId = Annotated[
    str | None, Header(max_length=40, description="The last event seen; what followed comes first.")
]
After = Annotated[str | None, Query(max_length=40, description="The same, for clients that cannot set headers.")]


@router.get("/v1/events", operation_id="farm_events", **_STREAM)
async def farm_events(
    request: Request, site: SiteDep, caller: Reader, last_event_id: LastEventId = None, after: After = None
) -> Response:
    """Follow every batch of the caller's owner."""

    def wants(_event: Event, owner: str | None) -> bool:
        return caller.is_admin or owner == caller.owner

    return await _follow(request, site, caller, wants, last_event_id or after)


@router.get("/v1/batches/{batch_id}/events", operation_id="batch_events", **_STREAM)
async def batch_events(
    request: Request,
    site: SiteDep,
    caller: Reader,
    batch_id: BatchId,
    last_event_id: LastEventId = None,
    after: After = None,
) -> Response:
    """Follow one batch."""
    await to_thread.run_sync(_check_batch, site, caller, batch_id)
    return await _follow(
        request, site, caller, lambda event, _owner: event.batch_id == batch_id, last_event_id or after
    )


def _check_batch(site: Site, caller: Caller, batch_id: str) -> None:
    site.batch_of(caller, batch_id)


async def _follow(request: Request, site: Site, caller: Caller, wants: Wants, after: str | None) -> Response:
    if after is not None and (after == "$" or not EVENT_ID.fullmatch(after)):
        raise InvalidRequest([FieldError("after", f"after is {shown(after)}: must be the id of an event")])
    site.guard.crowd.take(request, caller, Kind.STREAM)
    headers = {"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(site, caller, wants, after), media_type="text/event-stream", headers=headers)


async def _stream(site: Site, caller: Caller, wants: Wants, after: str | None) -> AsyncIterator[bytes]:
    """Yield what was missed, then what comes. The listener is there first, so nothing falls between the two."""
    async with site.feed.listen(wants) as listener:
        yield b": events follow\n"  # no blank line: to some clients that ends an event, an empty one
        # Said within the first event: a block of its own is an empty event to some clients.
        retry = f"retry: {RETRY_MS}\n".encode()
        last = (0, 0)
        if after is not None:
            for event in await to_thread.run_sync(read_missed, site, wants, after):
                last = order_of(event.id)
                yield retry + event.wire
                retry = b""
        look_s = site.clock.monotonic_s() + HEARTBEAT_S
        while True:
            try:
                event = await listener.next(HEARTBEAT_S)
            except EOFError:
                return
            if site.clock.monotonic_s() >= look_s:
                look_s = site.clock.monotonic_s() + HEARTBEAT_S
                if not await _may_go_on(site, caller):
                    return
            if event is None:
                yield b": ping\n"
            elif order_of(event.id) > last:
                last = order_of(event.id)
                yield retry + event.wire
                retry = b""


async def _may_go_on(site: Site, caller: Caller) -> bool:
    """Whether a stream goes on: its key may be revoked by now. Redis being away ends none."""
    try:
        return await site.guard.gate.is_let_in(caller)
    except FarmUnavailable:
        return True


def read_missed(site: Site, wants: Wants, after: str) -> list[Heard]:
    """Return the wanted events behind an id; a resync alone where some are gone, or they are too many."""
    oldest = site.store.events(after="0", limit=1)
    if oldest and order_of(after) < order_of(oldest[0].id) and after not in ("0", "0-0"):
        return [resync(_newest_id(site))]
    found: list[Heard] = []
    for _ in range(0, REPLAY_LIMIT, READ_LIMIT):
        events = site.store.events(after=after, limit=READ_LIMIT)
        for event in events:
            owner = site.feed.owner_of(site.store, event.batch_id)
            if wants(event, owner):
                found.append(heard(event, owner))
        if len(events) < READ_LIMIT:
            return found
        after = events[-1].id
    return [resync(_newest_id(site))]


def order_of(event_id: str) -> tuple[int, int]:
    """Return what orders event ids."""
    ms, _, number = event_id.partition("-")
    return int(ms), int(number or 0)


def _newest_id(site: Site) -> str:
    newest = site.store.last_events(limit=1)
    return newest[0].id if newest else "0-0"
