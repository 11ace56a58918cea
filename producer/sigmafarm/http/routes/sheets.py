"""A batch's contact sheet as a picture."""

from __future__ import annotations

import io
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sigmafarm.http.answers import unchanged
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import Reader
from sigmafarm.http.path_params import BatchId
from sigmafarm.http.schemas import NOT_MODIFIED, problems
from sigmafarm.http.site import Site, SiteDep
from sigmafarm.sheets import Sheet
from sigmafarm.sheets.sheet import LEAST_SIDE_PX, MOST_SIDE_PX, SIDE_PX

router = APIRouter()

_PNG: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}


@router.get(
    "/v1/batches/{batch_id}/sheet",
    tags=["batches"],
    operation_id="get_sheet",
    response_class=Response,
    responses={
        200: {"content": _PNG, "description": "A page of the sheet; the header X-Pages tells how many there are."},
        **NOT_MODIFIED,
        **problems(404),
    },
)
async def get_sheet(
    request: Request,
    site: SiteDep,
    caller: Reader,
    batch_id: BatchId,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
    side_px: Annotated[int, Query(ge=LEAST_SIDE_PX, le=MOST_SIDE_PX, description="Of a picture.")] = SIDE_PX,
) -> Response:
    """Return a page of a batch's contact sheet: a sweep as a table with its axes, any other with its prompts."""
    return await to_thread.run_sync(_page, request, site, caller, batch_id, page, side_px, limiter=site.sheet_threads)


def _page(request: Request, site: Site, caller: Caller, batch_id: str, page: int, side_px: int) -> Response:
    batch = site.batch_of(caller, batch_id)
    tag = f'"s-{batch.revision}-{page}-{side_px}"'
    if same := unchanged(request, tag):
        return same
    sheet = Sheet(site.store, site.farm.objects, batch, side_px=side_px)
    file = io.BytesIO()
    sheet.draw(page).save(file, "PNG", compress_level=4)
    name = f"{batch.id}-sheet-{page}.png"
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "X-Pages": str(sheet.num_pages),
        "Content-Disposition": f'inline; filename="{name}"',
    }
    return Response(file.getvalue(), media_type="image/png", headers=headers)
