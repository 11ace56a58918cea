"""Single jobs: read, cancel, retry, rate."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from sigmafarm.http.actions import steer
from sigmafarm.http.answers import Json, tagged
from sigmafarm.http.guard.callers import Reader, Submitter
from sigmafarm.http.path_params import JobId
from sigmafarm.http.schemas import NOT_MODIFIED, JobShape, RatingShape, problems
from sigmafarm.http.site import SiteDep
from sigmafarm.shapes import job_json
from sigmafarm_common.records import Job

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


@router.get("", operation_id="get_job", response_model=JobShape, responses={**NOT_MODIFIED, **problems(404)})
def get_job(request: Request, site: SiteDep, caller: Reader, job_id: JobId) -> Response:
    """Return a job with its settings, state, tries and picture; one that waits with its turn."""
    job = site.job_of(caller, job_id)
    return tagged(request, job_json(job, *site.forecaster.of_job(job)))


@router.post("/cancel", operation_id="cancel_job", response_model=Job, responses=problems(404))
def cancel_job(site: SiteDep, caller: Submitter, job_id: JobId) -> Response:
    """Cancel a queued or running job; one that has ended stays as it is."""
    steer.cancel_job(site, caller, job_id)
    return Json(job_json(site.store.job(job_id)))


@router.patch("", operation_id="rate_job", response_model=Job, responses=problems(404, 409))
def rate_job(site: SiteDep, caller: Submitter, job_id: JobId, change: RatingShape) -> Response:
    """Rate a picture from 1 to 5, or take the rating back with 0. The manifest of its batch tells of it."""
    steer.rate_job(site, caller, job_id, change.rating)
    return Json(job_json(site.store.job(job_id)))


@router.post("/retry", operation_id="retry_job", response_model=Job, responses=problems(404, 409))
def retry_job(site: SiteDep, caller: Submitter, job_id: JobId) -> Response:
    """Queue a failed or cancelled job again, with its history kept."""
    steer.retry_job(site, caller, job_id)
    return Json(job_json(site.store.job(job_id)))
