"""The jobs of all batches that a filter or a search means."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.guard.callers import Reader
from sigmafarm.http.job_filter import Wanted
from sigmafarm.http.pagination import DEFAULT_LIMIT, Cursor, Limit, Owner, farm_jobs_page
from sigmafarm.http.schemas import FarmJobsShape, problems
from sigmafarm.http.site import SiteDep
from sigmafarm.search import find_jobs_of_farm
from sigmafarm.shapes import found_json, job_json

router = APIRouter(tags=["jobs"])


@router.get("/v1/jobs", operation_id="search_jobs", response_model=FarmJobsShape, responses=problems())
def search_jobs(
    site: SiteDep,
    caller: Reader,
    wanted: Wanted,
    owner: Owner = "",
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """List jobs of all batches that a filter or a search means, those of the newest batch first."""
    whose = caller.lists(owner)
    page = farm_jobs_page(site.store, wanted, owner=whose, cursor=cursor, limit=limit)
    has_search = bool(wanted.search.strip()) and cursor is None
    found = found_json(wanted, find_jobs_of_farm(site.store, wanted, owner=whose)) if has_search else None
    return Json({"jobs": [job_json(job) for job in page.items], "next": page.next, "found": found})
