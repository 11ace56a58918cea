"""POST /sdapi/v1/txt2img and img2img: a batch of one prompt, answered when it is drawn, or interrupted."""

from __future__ import annotations

import base64
import json
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.a1111.asked import Txt2Img
from sigmafarm.http.fronts.a1111.basic_auth import BasicSubmitter, batch_name
from sigmafarm.http.fronts.a1111.checkpoints import current_model, model_named
from sigmafarm.http.fronts.a1111.choices import chosen
from sigmafarm.http.fronts.a1111.img2img import Img2Img
from sigmafarm.http.fronts.a1111.info import info
from sigmafarm.http.fronts.bodies import parse_body
from sigmafarm.http.fronts.lobby import Lobby, LobbyDep, Seat
from sigmafarm.http.fronts.waited_batch import ended_jobs, submit, unless_gone, wait_until_drawn
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.crowd import Kind
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.records import Batch
from sigmafarm_common.states import JobState

router = APIRouter(prefix="/sdapi/v1", include_in_schema=False)

#: The route of this file, and the one that takes pictures, whose bodies may be large.
PATH, UPLOAD = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"


@router.post("/txt2img")
async def txt2img(request: Request, site: SiteDep, caller: BasicSubmitter, lobby: LobbyDep) -> Response:
    """Draw pictures of a prompt. When they are interrupted, the answer holds those that were drawn until then."""
    body = await request.body()
    said, asked = await to_thread.run_sync(_read, body)
    site.guard.crowd.take(request, caller, Kind.STREAM)
    rows = [{"prompt": asked.prompt or ""}]
    return await _draw(request, site, caller, lobby, asked, rows, said)


@router.post("/img2img")
async def img2img(request: Request, site: SiteDep, caller: BasicSubmitter, lobby: LobbyDep) -> Response:
    """Draw on pictures, under a mask if there is one."""
    body = await request.body()
    said, asked = await to_thread.run_sync(_read_pictures, body)
    site.guard.crowd.take(request, caller, Kind.STREAM)
    rows = await to_thread.run_sync(asked.stored_rows, site, caller, limiter=site.picture_threads)
    return await _draw(request, site, caller, lobby, asked, rows, said)


async def _draw(
    request: Request,
    site: Site,
    caller: Caller,
    lobby: Lobby,
    asked: Txt2Img,
    rows: list[dict[str, Any]],
    said: dict[str, Any],
) -> Response:
    batch_id = await to_thread.run_sync(_submit, site, caller, asked, rows)
    with lobby.seat(batch_id) as seat:
        answer = await unless_gone(request, _answer(site, seat, asked, _scalars(said)))
        seat.answer()
    return answer


def _read(body: bytes) -> tuple[dict[str, Any], Txt2Img]:
    said = parse_body(body)
    return said, Txt2Img.of(said)


def _read_pictures(body: bytes) -> tuple[dict[str, Any], Img2Img]:
    said = parse_body(body)
    asked = Img2Img.of(said)
    if said.get("include_init_images") is not True:
        said.pop("mask", None)
    return said, asked


def _submit(site: Site, caller: Caller, asked: Txt2Img, rows: list[dict[str, Any]]) -> str:
    model = model_named(site, asked.checkpoint) if asked.checkpoint else current_model(site, caller)
    settings = asked.settings(model, chosen(site, caller))
    return submit(site, caller, rows, settings, num=asked.num, name=batch_name(caller))


async def _answer(site: Site, seat: Seat, asked: Txt2Img, said: dict[str, Any]) -> Response:
    batch = await wait_until_drawn(site, seat)
    return await to_thread.run_sync(_images, site, batch, asked, said)


def _images(site: Site, batch: Batch, asked: Txt2Img, said: dict[str, Any]) -> Response:
    """Return the answer. Megabytes are read and written here: call it in a thread."""
    jobs = ended_jobs(site, batch)
    done = [job for job in jobs if job.state is JobState.SUCCEEDED]
    sent = done if asked.send_images is not False else []
    images = [base64.b64encode(site.farm.objects.get(job.image_key)).decode() for job in sent]
    return Json({"images": images, "parameters": said, "info": json.dumps(info(asked, done, jobs[0]))})


def _scalars(said: dict[str, Any]) -> dict[str, Any]:
    """Return what a request said, as the answer repeats it; what is nested as deep as a body can be is left out."""
    return {name: value for name, value in said.items() if value is None or isinstance(value, str | int | float)}
