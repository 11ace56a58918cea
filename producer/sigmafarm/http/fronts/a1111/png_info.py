"""What a picture says of itself, as AUTOMATIC1111 answers it."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.a1111.basic_auth import BasicReader
from sigmafarm.http.fronts.bodies import check_fields, parse_body
from sigmafarm.http.fronts.picture_texts import read_base64
from sigmafarm.http.site import SiteDep
from sigmafarm.replay.reading import text_in
from sigmafarm_common.picture_text import parts_of

router = APIRouter(prefix="/sdapi/v1", include_in_schema=False)

#: The route of this file, whose bodies may be large.
PATH = "/sdapi/v1/png-info"


class Asked(BaseModel):
    """A request: a file in base 64."""

    image: str


@router.post("/png-info")
async def png_info(request: Request, site: SiteDep, caller: BasicReader) -> Response:
    """Return the text in a picture's file; empty where it has none, as over there."""
    del caller
    body = await request.body()
    return Json(await to_thread.run_sync(_said_by, body, limiter=site.picture_threads))


def _said_by(body: bytes) -> dict[str, Any]:
    asked = check_fields(Asked, parse_body(body))
    text = text_in(read_base64(asked.image, "image"))
    prompt, negative, words = parts_of(text)
    known = {"Prompt": prompt, "Negative prompt": negative, **words} if text else {}
    return {"info": text, "items": {"parameters": text} if text else {}, "parameters": known}
