"""Acting on a batch: first the question with the number of jobs that are meant, then the act itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.responses import Response

from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.query import filter_fields
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.guard.callers import FormSubmitter
from sigmafarm.http.pagination import JobFilter
from sigmafarm.http.routes.batches import Wanted, num_matching
from sigmafarm.http.routes.params import BatchId
from sigmafarm.http.routes.steering import ENDED, OPEN, cancel_jobs, retry_jobs
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Batch
from sigmafarm_common.states import JobState

router = APIRouter()

Act = Annotated[str, Query(pattern="^(cancel|retry)$")]


@router.get("/batches/{batch_id}/confirm")
def confirm(visit: Visiting, batch_id: BatchId, wanted: Wanted, act: Act) -> Html:
    """Ask before cancelling or retrying, with the number of jobs. In a dialog, or as a page without scripts."""
    batch = visit.site.batch_of(visit.caller, batch_id)
    meant = _meant(wanted, act)
    num, is_complete = num_matching(visit.site, batch, meant) if meant else (0, True)
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
    num, is_complete = cancel_jobs(visit.site, batch, wanted)
    return _done(visit, batch, "cancelled", num, is_complete=is_complete)


@router.post("/batches/{batch_id}/retry")
def retry(visit: Visiting, _caller: FormSubmitter, batch_id: BatchId, wanted: Wanted) -> Response:
    batch = visit.site.batch_of(visit.caller, batch_id)
    num, is_complete = retry_jobs(visit.site, batch, wanted)
    return _done(visit, batch, "retried", num, is_complete=is_complete)


@router.post("/batches/{batch_id}/pause")
def pause(visit: Visiting, _caller: FormSubmitter, batch_id: BatchId) -> Response:
    visit.site.batch_of(visit.caller, batch_id)
    visit.site.store.pause_batch(batch_id)
    return visit.see(f"/batches/{batch_id}", did="paused")


@router.post("/batches/{batch_id}/resume")
def resume(visit: Visiting, _caller: FormSubmitter, batch_id: BatchId) -> Response:
    visit.site.batch_of(visit.caller, batch_id)
    visit.site.store.resume_batch(batch_id)
    return visit.see(f"/batches/{batch_id}", did="resumed")


@router.post("/batches/{batch_id}/priority")
def set_priority(
    visit: Visiting, _caller: FormSubmitter, batch_id: BatchId, priority: Annotated[str, Form(max_length=20)] = ""
) -> Response:
    visit.site.batch_of(visit.caller, batch_id)
    visit.site.store.set_priority(batch_id, _priority(priority))
    return visit.see(f"/batches/{batch_id}", did="priority")


def _meant(wanted: JobFilter, act: str) -> JobFilter | None:
    """Return the jobs that an act would look at, as the act itself chooses them."""
    if act == "cancel":
        return wanted.within(OPEN)
    return wanted.within(ENDED if wanted.states else frozenset({JobState.FAILED}))


def _done(visit: Visit, batch: Batch, did: str, num: int, *, is_complete: bool) -> Response:
    """Go back to the whole batch: under the old filter there would be nothing left to see."""
    said: dict[str, Any] = {"did": did, "num": num}
    return visit.see(f"/batches/{batch.id}", **said, **({} if is_complete else {"rest": 1}))


def _priority(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 1000
    if not -100 <= value <= 100:
        raise InvalidRequest([FieldError("priority", f"priority is {text!r}: must be a whole number from -100 to 100")])
    return value
