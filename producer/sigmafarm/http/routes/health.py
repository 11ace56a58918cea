"""Whether the process lives (/healthz), and whether it can do its work (/readyz). Neither asks for a key."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.problems import Problem, ProblemField
from sigmafarm.http.schemas import HealthShape, ReadyShape
from sigmafarm.http.site import SiteDep

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="health", response_model=HealthShape)
async def health() -> Response:
    """Say that the process lives. Asks nothing of Redis or the object store."""
    return Json({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="readiness",
    response_model=ReadyShape,
    responses={503: {"model": Problem, "description": "Something is missing; `fields` name it, with the cure."}},
)
def readiness(site: SiteDep) -> Response:
    """Say whether submissions can be accepted and pictures fetched, and what is missing if not."""
    findings = site.readiness.look()
    missing = [ProblemField(field=f.name, message=f.message) for f in findings if not f.is_ok]
    if missing:
        message = "; ".join(f"{each.field}: {each.message}" for each in missing)
        return Json(Problem(code="not_ready", message=message, fields=missing, retryable=True).model_dump(), 503)
    return Json({"is_ready": True, "checks": [{"name": f.name, "message": f.message} for f in findings]})
