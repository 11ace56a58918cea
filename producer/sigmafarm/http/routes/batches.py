"""Reading batches: the list, one, its jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sigmafarm.http.actions import steer
from sigmafarm.http.answers import Json, tag_of, tagged, unchanged
from sigmafarm.http.guard.callers import Reader
from sigmafarm.http.job_filter import Search, Wanted
from sigmafarm.http.pagination import DEFAULT_LIMIT, Cursor, Limit, Owner, batches_page, jobs_page
from sigmafarm.http.path_params import BatchId
from sigmafarm.http.schemas import (
    NOT_MODIFIED,
    BatchesShape,
    BatchShape,
    BatchStatus,
    CountShape,
    JobsShape,
    problems,
)
from sigmafarm.http.site import SiteDep
from sigmafarm.search import JobOrder, find_jobs
from sigmafarm.shapes import found_json, job_json
from sigmafarm_common.records import Batch

router = APIRouter()


@router.get(
    "/v1/batches",
    tags=["batches"],
    operation_id="list_batches",
    response_model=BatchesShape,
    responses={**NOT_MODIFIED, **problems()},
)
def list_batches(
    request: Request,
    site: SiteDep,
    caller: Reader,
    status: Annotated[BatchStatus | None, Query(description="Only such batches.")] = None,
    q: Search = "",
    owner: Owner = "",
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """List batches, newest first. `q` looks in titles and ids."""
    whose = caller.lists(owner)
    newest = site.store.last_events(limit=1)  # whatever happens to a batch leaves an event
    tag = tag_of(newest[0].id if newest else "", request.url.query, caller.sees_only)
    if same := unchanged(request, tag):
        return same
    text = q.casefold()

    def is_wanted(batch: Batch) -> bool:
        return (status is None or BatchStatus.of(batch) is status) and (
            not text or text in batch.title.casefold() or text in batch.id
        )

    page = batches_page(site.store, whose, is_wanted, cursor=cursor, limit=limit)
    content = {"batches": [site.said(batch) for batch in page.items], "next": page.next}
    return Json(content, headers={"ETag": tag})


@router.get(
    "/v1/batches/{batch_id}",
    tags=["batches"],
    operation_id="get_batch",
    response_model=BatchShape,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_batch(request: Request, site: SiteDep, caller: Reader, batch_id: BatchId) -> Response:
    """Return a batch with its counts. One read of Redis, however many jobs it has."""
    return tagged(request, site.said(site.batch_of(caller, batch_id)))


@router.get(
    "/v1/batches/{batch_id}/jobs",
    tags=["batches"],
    operation_id="list_jobs",
    response_model=JobsShape,
    responses={**NOT_MODIFIED, **problems(404)},
)
def list_jobs(
    request: Request,
    site: SiteDep,
    caller: Reader,
    batch_id: BatchId,
    wanted: Wanted,
    sort: Annotated[JobOrder, Query()] = JobOrder.ROW,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """List a batch's jobs: all, or those that a filter or a search means. Unchanged, it costs one read of Redis."""
    batch = site.batch_of(caller, batch_id)
    tag = tag_of(batch.id, batch.revision, request.url.query)
    if same := unchanged(request, tag):
        return same
    page = jobs_page(site.store, batch, wanted, order=sort, cursor=cursor, limit=limit)
    has_search = bool(wanted.search.strip()) and cursor is None
    found = found_json(wanted, find_jobs(site.store, batch, wanted)) if has_search else None
    content = {"batch": batch.id, "jobs": [job_json(job) for job in page.items], "next": page.next, "found": found}
    return Json(content, headers={"ETag": tag})


@router.get(
    "/v1/batches/{batch_id}/count",
    tags=["batches"],
    operation_id="count_jobs",
    response_model=CountShape,
    responses=problems(404),
)
def count_jobs(site: SiteDep, caller: Reader, batch_id: BatchId, wanted: Wanted) -> Response:
    """Count the jobs that a filter means: what a cancel or retry with it would look at."""
    batch = site.batch_of(caller, batch_id)
    num, is_complete = steer.count_jobs(site, batch, wanted)
    return Json({"num": num, "is_complete": is_complete})


@router.get(
    "/v1/batches/{batch_id}/failures",
    tags=["batches"],
    operation_id="get_failures",
    response_model=dict[str, int],
    responses=problems(404),
)
def get_failures(site: SiteDep, caller: Reader, batch_id: BatchId) -> Response:
    """Return how many of a batch's jobs failed, by error code."""
    site.batch_of(caller, batch_id)
    return Json(site.store.failures(batch_id))
