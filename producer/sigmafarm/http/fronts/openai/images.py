"""POST /v1/images/generations, and /edits, which begin with pictures: a batch of one prompt, answered when it is drawn,
or as it is drawn (`stream`)."""

from __future__ import annotations

import base64
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.bodies import drain_body
from sigmafarm.http.fronts.lobby import Lobby, LobbyDep
from sigmafarm.http.fronts.openai.asked import Asked, ResponseFormat
from sigmafarm.http.fronts.openai.edits import read_sent, store_sent
from sigmafarm.http.fronts.openai.links import link_to
from sigmafarm.http.fronts.openai.retries import Sender, Taken, take_batch
from sigmafarm.http.fronts.openai.streaming import make_stream
from sigmafarm.http.fronts.openai.told import warnings_of
from sigmafarm.http.fronts.waited_batch import drawn_jobs, unless_gone, wait_until_drawn
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import Submitter
from sigmafarm.http.guard.crowd import Kind
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.errors import FieldError, InvalidRequest, SigmafarmError
from sigmafarm_common.records import Batch, Job

router = APIRouter(include_in_schema=False)

#: The routes of this file; those that take pictures may have large bodies.
PATH, EDITS, VARIATIONS = "/v1/images/generations", "/v1/images/edits", "/v1/images/variations"


@router.post(PATH)
async def generate(request: Request, site: SiteDep, caller: Submitter, lobby: LobbyDep) -> Response:
    """Draw pictures of a prompt."""
    body = await request.body()
    asked = await to_thread.run_sync(Asked.parse, body)
    site.guard.crowd.take(request, caller, Kind.STREAM)
    return await _draw(request, site, caller, lobby, asked, body)


@router.post(EDITS)
async def edit(request: Request, site: SiteDep, caller: Submitter, lobby: LobbyDep) -> Response:
    """Draw on pictures, under a mask if there is one."""
    sent = await read_sent(request)
    site.guard.crowd.take(request, caller, Kind.STREAM)
    asked = await store_sent(site, caller, sent)
    # A client that sends a form again gives it another boundary: a request is known by what it says.
    return await _draw(request, site, caller, lobby, asked, asked.model_dump_json().encode("utf-8", "replace"))


@router.post(VARIATIONS)
async def vary(request: Request, caller: Submitter) -> Response:
    """Refuse what begins with a picture and says nothing of it."""
    del caller
    await drain_body(request)
    raise InvalidRequest([FieldError("prompt", f"prompt is missing: say what the picture shall show, to {EDITS}")])


async def _draw(request: Request, site: Site, caller: Caller, lobby: Lobby, asked: Asked, said: bytes) -> Response:
    place = await take_batch(site, lobby, caller, Sender.of(request), asked, said)
    if asked.stream:
        return make_stream(site, place, asked)
    with place.seat:
        answer = await unless_gone(request, _answer(request, site, place, asked))
        place.seat.answer()
    return answer


async def _answer(request: Request, site: Site, place: Taken, asked: Asked) -> Response:
    batch = await wait_until_drawn(site, place.seat, again_until_s=place.again_until_s)
    try:
        return await to_thread.run_sync(_images, request, site, batch, asked)
    except SigmafarmError as error:
        if not error.retryable:
            place.seat.give_up()
        raise


def _images(request: Request, site: Site, batch: Batch, asked: Asked) -> Response:
    """Return the answer. Megabytes are read and written here: call it in a thread."""
    jobs = drawn_jobs(site, batch)
    settings = jobs[0].request
    said = {
        "created": int(site.clock.wall_s()),
        "data": [_image(request, site, job, asked.response_format) for job in jobs],
        "background": "opaque",
        "output_format": settings.output_format or "png",
        "size": f"{settings.width}x{settings.height}",
    }
    return Json(said)


def _image(request: Request, site: Site, job: Job, form: ResponseFormat | None) -> dict[str, Any]:
    """Return one picture, both ways where nothing is said: some clients read only the one, some only the other."""
    image: dict[str, Any] = {"seed": job.request.seed, **warnings_of(job)}
    if form is not ResponseFormat.URL:
        image["b64_json"] = base64.b64encode(site.farm.objects.get(job.image_key)).decode()
    if form is not ResponseFormat.B64_JSON:
        image["url"] = link_to(request, site, job)
    return image
