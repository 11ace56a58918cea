"""Steering batches: priority, pause, resume, cancel, retry; the last two for all jobs or those that a filter means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.guard.callers import Submitter
from sigmafarm.http.pagination import JobFilter, matching_jobs
from sigmafarm.http.routes.batches import COUNTED_ROWS, Wanted
from sigmafarm.http.routes.params import BatchId
from sigmafarm.http.schemas import BatchShape, PriorityShape, SteeredShape, problems
from sigmafarm.http.site import Site, SiteDep
from sigmafarm.shapes import batch_json
from sigmafarm_common.errors import Conflict
from sigmafarm_common.records import Batch
from sigmafarm_common.states import JobState

router = APIRouter(prefix="/v1/batches/{batch_id}", tags=["batches"])

#: The states from which a cancel, and a retry, moves a job.
OPEN = frozenset({JobState.QUEUED, JobState.RUNNING})
ENDED = frozenset({JobState.FAILED, JobState.CANCELLED})

_BATCH: dict[str, Any] = {"response_model": BatchShape, "responses": problems(404)}
_STEERED: dict[str, Any] = {"response_model": SteeredShape, "responses": problems(404, 409)}


@router.patch("", operation_id="set_priority", **_BATCH)
def set_priority(site: SiteDep, caller: Submitter, batch_id: BatchId, change: PriorityShape) -> Response:
    """Change the priority of what still waits."""
    site.batch_of(caller, batch_id)
    return Json(batch_json(site.store.set_priority(batch_id, change.priority)))


@router.post("/pause", operation_id="pause_batch", **_BATCH)
def pause_batch(site: SiteDep, caller: Submitter, batch_id: BatchId) -> Response:
    """Stop drawing a batch; running jobs go back to the queue."""
    site.batch_of(caller, batch_id)
    return Json(batch_json(site.store.pause_batch(batch_id)))


@router.post("/resume", operation_id="resume_batch", **_BATCH)
def resume_batch(site: SiteDep, caller: Submitter, batch_id: BatchId) -> Response:
    """Go on with a paused batch."""
    site.batch_of(caller, batch_id)
    return Json(batch_json(site.store.resume_batch(batch_id)))


@router.post("/cancel", operation_id="cancel_batch", **_STEERED)
def cancel_batch(site: SiteDep, caller: Submitter, batch_id: BatchId, wanted: Wanted) -> Response:
    """Cancel every queued and running job, or those that the filter means."""
    num, is_complete = cancel_jobs(site, site.batch_of(caller, batch_id), wanted)
    return _steered(site, batch_id, num, is_complete=is_complete)


@router.post("/retry", operation_id="retry_batch", **_STEERED)
def retry_batch(site: SiteDep, caller: Submitter, batch_id: BatchId, wanted: Wanted) -> Response:
    """Queue the failed jobs again, or those failed and cancelled ones that the filter means."""
    num, is_complete = retry_jobs(site, site.batch_of(caller, batch_id), wanted)
    return _steered(site, batch_id, num, is_complete=is_complete)


def cancel_jobs(site: Site, batch: Batch, wanted: JobFilter) -> tuple[int, bool]:
    """Cancel what a filter means; return how many, and whether the whole batch was looked at."""
    if wanted.is_all:
        return site.store.cancel_batch(batch.id), True
    return _each(site, batch, wanted.within(OPEN), lambda job_id: site.store.cancel_job(job_id) is JobState.CANCELLED)


def retry_jobs(site: Site, batch: Batch, wanted: JobFilter) -> tuple[int, bool]:
    """Queue what a filter means again, failed jobs only unless it names states; return as `cancel_jobs` does."""
    narrowed = wanted.within(ENDED if wanted.states else frozenset({JobState.FAILED}))
    if narrowed is not None and narrowed.is_by_state_only:
        return (
            site.store.retry_batch(batch.id, states=narrowed.states, max_open_jobs=site.config.max_open_jobs),
            True,
        )
    return _each(site, batch, narrowed, lambda job_id: _is_retried(site, job_id))


def _each(site: Site, batch: Batch, wanted: JobFilter | None, change: Callable[[str], bool]) -> tuple[int, bool]:
    if wanted is None:
        return 0, True
    found, is_complete = matching_jobs(site.store, batch, wanted, COUNTED_ROWS)
    return sum(change(job.id) for job in found), is_complete


def _is_retried(site: Site, job_id: str) -> bool:
    try:
        site.store.retry_job(job_id, max_open_jobs=site.config.max_open_jobs)
    except Conflict:  # it moved since it was read
        return False
    return True


def _steered(site: Site, batch_id: str, num: int, *, is_complete: bool) -> Response:
    return Json({**batch_json(site.store.batch(batch_id)), "num_changed": num, "is_complete": is_complete})
