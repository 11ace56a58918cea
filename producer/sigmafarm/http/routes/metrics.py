"""/metrics for Prometheus. Where there are keys, a scraper needs one with scope admin."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from sigmafarm.http.guard.auth import Caller, check_scope
from sigmafarm.http.guard.callers import AnyCaller
from sigmafarm.http.schemas import problems
from sigmafarm.http.site import SiteDep
from sigmafarm_common.keys import Scope

router = APIRouter(tags=["health"])


async def scraper(caller: AnyCaller) -> Caller:
    check_scope(caller, Scope.ADMIN)
    return caller


@router.get(
    "/metrics",
    operation_id="get_metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus's text format."},
        **problems(),
    },
)
def get_metrics(site: SiteDep, caller: Annotated[Caller, Depends(scraper)]) -> Response:
    """Return the farm's figures for Prometheus, read as they are asked for."""
    del caller
    return Response(generate_latest(site.metrics), media_type=CONTENT_TYPE_LATEST)
