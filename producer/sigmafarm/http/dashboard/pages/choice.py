"""What is done with pictures that were chosen: rated, downloaded, compared, drawn again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query
from starlette.responses import Response

from sigmafarm.http.actions import steer
from sigmafarm.http.dashboard.query import query
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.guard.callers import FormSubmitter, Reader
from sigmafarm.http.path_params import BatchId
from sigmafarm.http.row_spans import MAX_CHARS, text_of
from sigmafarm_common.errors import Conflict, FieldError, InvalidRequest, NotFound, TooLarge
from sigmafarm_common.store.ids import split_job_id

router = APIRouter(include_in_schema=False)

Jobs = Annotated[list[str] | None, Form()]


@router.post("/ratings")
def rate(visit: Visiting, _caller: FormSubmitter, rating: Annotated[int, Form()], job: Jobs = None) -> Response:
    """Rate pictures. One that was retried or forgotten meanwhile has none, and is left out."""
    batches = dict.fromkeys(each.rpartition("-")[0] for each in job or ())
    for each in job or ():
        try:
            steer.rate_job(visit.site, visit.caller, each, rating)
        except (Conflict, NotFound):
            if len(job or ()) == 1:
                raise
    if visit.request.headers.get("hx-request") == "true":
        return Response(status_code=204)
    return visit.see(f"/batches/{next(iter(batches))}" if len(batches) == 1 else "/", did="rated", num=len(job or ()))


@router.post("/batches/{batch_id}/chosen")
def chosen(
    visit: Visiting, _caller: Reader, batch_id: BatchId, act: Annotated[str, Form()], job: Jobs = None
) -> Response:
    """Lead to what is to be done with the chosen jobs. The rows travel in the address, so that it can be kept."""
    return _lead(visit, batch_id, act, job or [])


@router.get("/batches/{batch_id}/chosen")
def chosen_to_look(
    visit: Visiting, batch_id: BatchId, act: str, job: Annotated[list[str] | None, Query()] = None
) -> Response:
    """Lead there who may only look: his page has no form that changes anything."""
    return _lead(visit, batch_id, act, job or [])


def _lead(visit: Visit, batch_id: str, act: str, jobs: list[str]) -> Response:
    batch = visit.site.batch_of(visit.caller, batch_id)
    rows = text_of(place[1] for each in jobs if (place := split_job_id(each)) and place[0] == batch.id)
    if not rows:
        raise InvalidRequest([FieldError("job", "nothing is chosen: choose pictures of this batch first")])
    if len(rows) > MAX_CHARS:
        raise TooLarge("so many jobs are chosen here and there that no address holds them: choose neighbours, or fewer")
    if act == "compare":
        return visit.see(query("/compare", {"job": jobs}))
    if act == "download":
        return visit.see(query(f"/v1/batches/{batch.id}/download.zip", {"rows": rows}))
    return visit.see(query(f"/batches/{batch.id}/again", {"rows": rows}))
