"""Steering batches: priority, pause, resume, cancel, retry; the last two for all jobs or those that a filter means."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from sigmafarm.http.actions import steer
from sigmafarm.http.answers import Json
from sigmafarm.http.guard.callers import Submitter
from sigmafarm.http.job_filter import Wanted
from sigmafarm.http.path_params import BatchId
from sigmafarm.http.schemas import BatchShape, PriorityShape, SteeredShape, problems
from sigmafarm.http.site import Site, SiteDep

router = APIRouter(prefix="/v1/batches/{batch_id}", tags=["batches"])

_BATCH: dict[str, Any] = {"response_model": BatchShape, "responses": problems(404)}
_STEERED: dict[str, Any] = {"response_model": SteeredShape, "responses": problems(404, 409)}


@router.patch("", operation_id="set_priority", **_BATCH)
def set_priority(site: SiteDep, caller: Submitter, batch_id: BatchId, change: PriorityShape) -> Response:
    """Change the priority of what still waits."""
    return Json(site.said(steer.set_priority(site, caller, batch_id, change.priority)))


@router.post("/pause", operation_id="pause_batch", **_BATCH)
def pause_batch(site: SiteDep, caller: Submitter, batch_id: BatchId) -> Response:
    """Stop drawing a batch; running jobs go back to the queue."""
    return Json(site.said(steer.pause_batch(site, caller, batch_id)))


@router.post("/resume", operation_id="resume_batch", **_BATCH)
def resume_batch(site: SiteDep, caller: Submitter, batch_id: BatchId) -> Response:
    """Go on with a paused batch."""
    return Json(site.said(steer.resume_batch(site, caller, batch_id)))


@router.post("/cancel", operation_id="cancel_batch", **_STEERED)
def cancel_batch(site: SiteDep, caller: Submitter, batch_id: BatchId, wanted: Wanted) -> Response:
    """Cancel every queued and running job, or those that the filter means."""
    num, is_complete = steer.cancel_jobs(site, site.batch_of(caller, batch_id), wanted)
    return _steered(site, batch_id, num, is_complete=is_complete)


@router.post("/retry", operation_id="retry_batch", **_STEERED)
def retry_batch(site: SiteDep, caller: Submitter, batch_id: BatchId, wanted: Wanted) -> Response:
    """Queue the failed jobs again, or those failed and cancelled ones that the filter means."""
    num, is_complete = steer.retry_jobs(site, site.batch_of(caller, batch_id), wanted)
    return _steered(site, batch_id, num, is_complete=is_complete)


def _steered(site: Site, batch_id: str, num: int, *, is_complete: bool) -> Response:
    return Json({**site.said(site.store.batch(batch_id)), "num_changed": num, "is_complete": is_complete})
