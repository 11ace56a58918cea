"""Acting on a batch: first the question with the number of jobs that are meant, then the act itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.responses import Response

from sigmafarm.http.actions import steer
from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.query import filter_fields
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.guard.callers import FormSubmitter
from sigmafarm.http.job_filter import Wanted
from sigmafarm.http.path_params import BatchId
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Batch
from sigmafarm_common.store.values import HIGHEST_PRIORITY, LOWEST_PRIORITY

router = APIRouter(include_in_schema=False)


@router.get("/batches/{batch_id}/confirm")
def confirm(visit: Visiting, batch_id: BatchId, wanted: Wanted, act: steer.Act) -> Html:
    """Ask before cancelling or retrying, with the number of jobs. In a dialog, or as a page without scripts."""
    batch = visit.site.batch_of(visit.caller, batch_id)
    meant = steer.jobs_meant(wanted, act)
    num, is_complete = steer.count_jobs(visit.site, batch, meant) if meant else (0, True)
    is_part = visit.request.headers.get("hx-request") == "true"
    return visit.page(
        "parts/confirm.html" if is_part else "confirm.html",
        batch=batch,
        act=act,
        num=num,
        is_complete=is_complete,
        wanted=wanted,
        fields=filter_fields(wanted),
    )


@router.post("/batches/{batch_id}/cancel")
def cancel(visit: Visiting, _caller: FormSubmitter, batch_id: BatchId, wanted: Wanted) -> Response:
    batch = visit.site.batch_of(visit.caller, batch_id)
    num, is_complete = steer.cancel_jobs(visit.site, batch, wanted)
    return _done(visit, batch, "cancelled", num, is_complete=is_complete)


@router.post("/batches/{batch_id}/retry")
def retry(visit: Visiting, _caller: FormSubmitter, batch_id: BatchId, wanted: Wanted) -> Response:
    batch = visit.site.batch_of(visit.caller, batch_id)
    num, is_complete = steer.retry_jobs(visit.site, batch, wanted)
    return _done(visit, batch, "retried", num, is_complete=is_complete)


@router.post("/batches/{batch_id}/pause")
def pause(visit: Visiting, _caller: FormSubmitter, batch_id: BatchId) -> Response:
    steer.pause_batch(visit.site, visit.caller, batch_id)
    return visit.see(f"/batches/{batch_id}", did="paused")


@router.post("/batches/{batch_id}/resume")
def resume(visit: Visiting, _caller: FormSubmitter, batch_id: BatchId) -> Response:
    steer.resume_batch(visit.site, visit.caller, batch_id)
    return visit.see(f"/batches/{batch_id}", did="resumed")


@router.post("/batches/{batch_id}/priority")
def set_priority(
    visit: Visiting, _caller: FormSubmitter, batch_id: BatchId, priority: Annotated[str, Form(max_length=20)] = ""
) -> Response:
    steer.set_priority(visit.site, visit.caller, batch_id, _priority(priority))
    return visit.see(f"/batches/{batch_id}", did="priority")


def _done(visit: Visit, batch: Batch, did: str, num: int, *, is_complete: bool) -> Response:
    """Go back to the whole batch: under the old filter there would be nothing left to see."""
    said: dict[str, Any] = {"did": did, "num": num}
    return visit.see(f"/batches/{batch.id}", **said, **({} if is_complete else {"rest": 1}))


def _priority(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or not LOWEST_PRIORITY <= value <= HIGHEST_PRIORITY:
        must = f"must be a whole number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}"
        raise InvalidRequest([FieldError("priority", f"priority is {text!r}: {must}")])
    return value
