"""Progress, interrupt and skip: of the caller's own requests alone, whatever else the farm draws.

Clients wait until progress is 0 and job_count is 0: a farm's whole queue would let them wait for ever.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from sigmafarm.figures import work_left
from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.a1111.asked import MAX_NUM
from sigmafarm.http.fronts.a1111.basic_auth import BasicReader, BasicSubmitter, batch_name
from sigmafarm.http.fronts.a1111.info import timestamp
from sigmafarm.http.fronts.enlarge import enlarge
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.records import Batch, Job

router = APIRouter(prefix="/sdapi/v1", include_in_schema=False)

#: The newest batches of an owner among which a caller's open ones are looked for.
SEEN_BATCHES = 50
#: What work that has not begun counts as: 0 would mean that there is none.
BEGUN = 0.01


@router.get("/progress")
def get_progress(site: SiteDep, caller: BasicReader, skip_current_image: Annotated[bool, Query()] = False) -> Response:
    """Return how far the caller's requests are, with the newest preview."""
    batches = _open_batches(site, caller)
    if not batches:
        return Json(_said(0.0, 0.0, _state([], 0), None))
    site.want_previews()
    jobs = [job for batch in batches for job in site.store.jobs(batch.id, limit=MAX_NUM)]
    done = max(BEGUN, min(1.0, _part(jobs)))
    began_ms = min(batch.created_ms for batch in batches)
    image = None if skip_current_image else _preview(site, _current(jobs))
    return Json(_said(done, _left_s(site, jobs), _state(jobs, began_ms), image, _setback(jobs)))


@router.post("/interrupt")
def interrupt(site: SiteDep, caller: BasicSubmitter) -> Response:
    """Cancel the caller's requests; they are answered with what is drawn by then."""
    for batch in _open_batches(site, caller):
        site.store.cancel_batch(batch.id)
    return Json({})


@router.post("/skip")
def skip(site: SiteDep, caller: BasicSubmitter) -> Response:
    """Cancel the picture that is drawn now, and go on with the next."""
    for batch in _open_batches(site, caller)[-1:]:
        current = _current(site.store.jobs(batch.id, limit=MAX_NUM))
        if current is not None:
            site.store.cancel_job(current.id)
    return Json(None)


def _open_batches(site: Site, caller: Caller) -> list[Batch]:
    """Return the caller's batches with open jobs, newest first."""
    found = site.store.batches(owner=caller.owner, limit=SEEN_BATCHES)
    return [batch for batch in found if batch.name == batch_name(caller) and not batch.counts.is_done]


def _current(jobs: Sequence[Job]) -> Job | None:
    """Return the job that is drawn now, else the one that comes next."""
    left = [job for job in jobs if not job.state.is_terminal]
    return next((job for job in left if job.step), left[0] if left else None)


def _part(jobs: Sequence[Job]) -> float:
    """Return the part of the steps that are done."""
    done = sum(job.num_steps if job.state.is_terminal else job.step for job in jobs)
    return done / max(1, sum(job.num_steps for job in jobs))


def _left_s(site: Site, jobs: Sequence[Job]) -> float:
    """Return the seconds until all are drawn: as fast as they have been since the first was begun, or, as long as none
    is, after everything that waits for their models, at the farm's pace."""
    part = _part(jobs)
    begun_ms = [job.started_ms for job in jobs if job.started_ms and (job.step or job.state.is_terminal)]
    if part and begun_ms:
        return max(0.0, site.clock.wall_s() - min(begun_ms) / 1000) * (1 - part) / part
    models = {job.model for job in jobs}
    open_cost = sum(queue.open_cost for queue in site.store.queues() if queue.model in models)
    num_taking = sum(worker.takes_jobs for worker in site.store.workers())
    return work_left(open_cost, site.store.pace(), num_taking).work_s


def _setback(jobs: Sequence[Job]) -> str | None:
    """Return why a picture that was begun is drawn anew; None where none is."""
    lost = (job.history[-1] for job in jobs if job.history and not job.state.is_terminal)
    said = next((each.error or f"it came back from worker {each.worker}" for each in lost), None)
    return f"drawn anew: {said}" if said else None


def _preview(site: Site, job: Job | None) -> str | None:
    preview = site.store.preview(job.id) if job else None
    return base64.b64encode(enlarge(preview.webp, job, "png")).decode() if preview and job else None


def _said(
    progress: float, eta_s: float, state: dict[str, Any], image: str | None, text: str | None = None
) -> dict[str, Any]:
    return {
        "progress": round(progress, 4),
        "eta_relative": round(eta_s, 2),
        "state": state,
        "current_image": image,
        "textinfo": text,
    }


def _state(jobs: Sequence[Job], began_ms: int) -> dict[str, Any]:
    current = _current(jobs)
    return {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "txt2img" if jobs else "",
        "job_count": len(jobs),
        "job_timestamp": timestamp(began_ms) if jobs else "0",
        "job_no": sum(1 for job in jobs if job.state.is_terminal),
        "sampling_step": current.step if current else 0,
        "sampling_steps": current.num_steps if current else 0,
    }
