"""Whether the process lives (/healthz), and whether it can do its work (/readyz). Neither asks for a key."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from sigmafarm.http.answers import Json

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="health")
async def health() -> Response:
    """Say that the process lives. Asks nothing of Redis or the object store."""
    return Json({"status": "ok"})
