"""Pictures as they are drawn: server-sent events, partial images made of the live previews, then the whole ones."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from anyio import to_thread
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sigmafarm.http.fronts.enlarge import enlarge
from sigmafarm.http.fronts.lobby import Seat
from sigmafarm.http.fronts.openai.asked import Asked
from sigmafarm.http.fronts.openai.error_form import CODE_STATUSES
from sigmafarm.http.fronts.openai.retries import Taken
from sigmafarm.http.fronts.openai.told import warnings_of
from sigmafarm.http.fronts.waited_batch import ENDS, drawn_jobs, is_over, watch_batch
from sigmafarm.http.problems import OpenAiError, problem_of
from sigmafarm.http.site import Site
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.ids import job_id
from sigmafarm_common.store.values import EventKind

#: Pause between two looks for a preview while some are wanted (workers show one a second), and else.
PREVIEW_S, CALM_S = 1.0, 10.0
KINDS = ENDS | {EventKind.JOB_SUCCEEDED}
#: What clients expect to be told of an opaque picture that cost no tokens.
LOOK: dict[str, Any] = {"background": "opaque", "quality": "auto"}
NO_USAGE: dict[str, Any] = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}


class SeatedStream(StreamingResponse):
    """A stream with a seat, which is given back however it ends, also before it began."""

    def __init__(self, seat: Seat, pieces: AsyncGenerator[bytes]):
        headers = {"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"}
        super().__init__(pieces, media_type="text/event-stream", headers=headers)
        self._seat = seat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._seat:
            await super().__call__(scope, receive, send)


def make_stream(site: Site, place: Taken, asked: Asked) -> StreamingResponse:
    """Return the stream of a request."""
    return SeatedStream(place.seat, _stream(site, place, Partials(site, place.seat.batch_id, asked)))


class Partials:
    """The partial images of a request's first picture: evenly spread over its steps, each sent once."""

    def __init__(self, site: Site, batch_id: str, asked: Asked):
        self._site, self._job_id = site, job_id(batch_id, 0)
        self._num, self.events = asked.partial_images or 0, asked.events
        self._next = 0
        self._last_step = 0

    def pause_s(self) -> float:
        return PREVIEW_S if self._next < self._num else CALM_S

    def new(self) -> dict[str, Any] | None:
        """Return the next partial image, None where it is too early for one. Asks the store: call it in a thread."""
        if self._next >= self._num:
            return None
        self._site.want_previews()
        preview = self._site.store.preview(self._job_id)
        job = self._site.store.job(self._job_id) if preview else None
        if not preview or not job or preview.step <= self._last_step:
            return None
        if preview.step * (self._num + 1) < (self._next + 1) * job.num_steps:
            return None
        self._last_step = preview.step
        self._next += 1
        form = job.request.output_format or "png"
        said = {"type": f"{self.events}.partial_image", "partial_image_index": self._next - 1}
        return {**said, **_about(self._site, job), "b64_json": _base64(enlarge(preview.webp, job, form))}


async def _stream(site: Site, place: Taken, partials: Partials) -> AsyncGenerator[bytes]:
    """Yield the events. An error that comes once the stream has begun is its last event."""
    try:
        async for event in _events(site, place, partials):
            yield _wire(event)
        place.seat.answer()
    except SigmafarmError as error:
        if not error.retryable:
            place.seat.give_up()
        problem = problem_of(error)
        status = CODE_STATUSES.get(problem.code, error.http_status)
        yield _wire({"type": "error", "error": OpenAiError.of(status, problem).model_dump()})


async def _events(site: Site, place: Taken, partials: Partials) -> AsyncGenerator[dict[str, Any] | None]:
    """Yield partial images, whole ones, and None where there is nothing to say: the line must not look dead."""
    seen = watch_batch(site, place.seat, kinds=KINDS, every_s=partials.pause_s, again_until_s=place.again_until_s)
    sent: set[str] = set()
    async with aclosing(seen):
        async for batch in seen:
            for event in await to_thread.run_sync(_whole, site, batch, sent, partials.events):
                yield event
            if is_over(batch):
                await to_thread.run_sync(drawn_jobs, site, batch)  # says what failed
                return
            yield await to_thread.run_sync(partials.new)


def _whole(site: Site, batch: Batch, sent: set[str], events: str) -> list[dict[str, Any]]:
    """Return the pictures that were drawn since the last look, and take note of them."""
    if batch.counts.succeeded <= len(sent):
        return []
    jobs = site.store.jobs(batch.id, state=JobState.SUCCEEDED, limit=batch.counts.total)
    new = [job for job in jobs if job.id not in sent]
    sent.update(job.id for job in new)
    said = {"type": f"{events}.completed", "usage": NO_USAGE}
    return [
        {**said, **_about(site, job), **warnings_of(job), "b64_json": _base64(site.farm.objects.get(job.image_key))}
        for job in new
    ]


def _about(site: Site, job: Job) -> dict[str, Any]:
    settings = job.request
    form, size = settings.output_format or "png", f"{settings.width}x{settings.height}"
    return {**LOOK, "created_at": int(site.clock.wall_s()), "output_format": form, "size": size}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _wire(event: dict[str, Any] | None) -> bytes:
    if event is None:
        return b": waiting\n"  # no blank line: see routes/events.py
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
