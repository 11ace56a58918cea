"""Again with changes: chosen pictures, or all that a filter means, drawn anew as a batch that names the old one."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from sigmafarm.http.actions import submit as submission
from sigmafarm.http.actions.submission_options import Options
from sigmafarm.http.dashboard.changed_copies import CHANGED_FIELDS, OWN_FIELDS, Changes
from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.query import filter_fields, query
from sigmafarm.http.dashboard.submission_form import FormErrors, SubmitForm, errors_of
from sigmafarm.http.dashboard.views.cures import cure_of
from sigmafarm.http.dashboard.views.job import tile
from sigmafarm.http.dashboard.views.settings import inputs
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.guard.callers import FormSubmitter
from sigmafarm.http.job_filter import JobFilter, Wanted
from sigmafarm.http.path_params import BatchId
from sigmafarm.http.row_spans import Rows, jobs_in, spans_of
from sigmafarm.search import find_jobs
from sigmafarm_common.errors import InvalidInput, TooLarge, TooManyRequests
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.setting_fields import Place

router = APIRouter(include_in_schema=False)

#: The most jobs that are drawn again at once, and those that the page shows.
MAX_JOBS, NUM_SHOWN = 10_000, 12
#: What stands in a field that is left as it is.
AS_IT_WAS = "as it was"


@router.get("/batches/{batch_id}/again")
def again_page(visit: Visiting, batch_id: BatchId, wanted: Wanted, rows: Rows = "") -> Html:
    """Ask what shall be different."""
    batch = visit.site.batch_of(visit.caller, batch_id)
    jobs = _jobs(visit, batch, wanted, rows)
    cure = cure_of(jobs[0]) if jobs and wanted.error_code else None
    values = {**(cure.changes if cure else {}), "name": f"again: {batch.name}"[:200] if batch.name else ""}
    return _page(visit, batch, wanted, rows, jobs, SubmitForm(values), FormErrors())


@router.post("/batches/{batch_id}/again")
async def draw_again(
    request: Request, visit: Visiting, caller: FormSubmitter, batch_id: BatchId, wanted: Wanted, rows: Rows = ""
) -> Response:
    """Submit the changed copies, and go on to their batch; or show the page again with all that is wrong."""
    async with request.form() as said:
        values = {name: str(said.get(name) or "") for name in (*CHANGED_FIELDS, *OWN_FIELDS, "key")}
    limiter = visit.site.submit_threads
    return await to_thread.run_sync(_submit, visit, caller.owner, batch_id, wanted, rows, values, limiter=limiter)


def _submit(visit: Visit, owner: str, batch_id: str, wanted: JobFilter, rows: str, values: dict[str, str]) -> Response:
    batch = visit.site.batch_of(visit.caller, batch_id)
    jobs = _jobs(visit, batch, wanted, rows)
    try:
        changes = Changes.parse(values)
        options = Options().replaced({"name": values["name"]} if values["name"].strip() else {})
        made = submission.submit(visit.site, owner, changes.requests(jobs), options, values["key"], parent=batch.id)
    except (InvalidInput, TooLarge, TooManyRequests) as error:
        errors = errors_of(error) if isinstance(error, InvalidInput) else FormErrors(general=str(error))
        return _page(visit, batch, wanted, rows, jobs, SubmitForm(values), errors, status=422)
    return visit.see(f"/batches/{made.id}", did="submitted", num=made.counts.total)


def _jobs(visit: Visit, batch: Batch, wanted: JobFilter, rows: str) -> list[Job]:
    """Return the jobs that are meant: those rows if any are named, else those that the filter means."""
    if spans := spans_of(rows):
        found: list[Job] = []
        for job in jobs_in(visit.site.store, batch.id, spans):
            found.append(job)
            if len(found) > MAX_JOBS:
                break
    else:
        meant = find_jobs(visit.site.store, batch, wanted).ids[: MAX_JOBS + 1]
        found = visit.site.store.jobs_named(meant)
    if len(found) > MAX_JOBS:
        raise TooLarge(f"more than {MAX_JOBS} jobs are meant, the most that is drawn again at once: choose fewer")
    return found


def _page(
    visit: Visit,
    batch: Batch,
    wanted: JobFilter,
    rows: str,
    jobs: list[Job],
    form: SubmitForm,
    errors: FormErrors,
    *,
    status: int = 200,
) -> Html:
    places = inputs(visit.site.farm.seen_models(), form.value("model"))
    apart = {"seed", "width", "height"}
    fields = {
        place: [replace(each, blank=AS_IT_WAS, offers=()) for each in places[place] if each.field.name not in apart]
        for place in (Place.SIDE, Place.TEXT, Place.FOLDED, Place.PICTURED)
    }
    said: dict[str, Any] = {**dict(filter_fields(wanted)), "rows": rows}
    return visit.page(
        "again.html",
        status,
        batch=batch,
        here=query(f"/batches/{batch.id}/again", said),
        num=len(jobs),
        tiles=[tile(job) for job in jobs[:NUM_SHOWN]],
        cure=cure_of(jobs[0]) if jobs and wanted.error_code else None,
        inputs=fields,
        form=form,
        errors=errors,
        key=form.value("key") or secrets.token_hex(12),
    )
