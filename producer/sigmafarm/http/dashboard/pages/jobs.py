"""The jobs of all batches that a search means, the newest batch's first: what the form of batches looks in is names."""

from __future__ import annotations

from fastapi import APIRouter

from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.query import query
from sigmafarm.http.dashboard.views.job import tile
from sigmafarm.http.dashboard.visit import Visiting
from sigmafarm.http.job_filter import WantedHere
from sigmafarm.http.pagination import Cursor, Owner, farm_jobs_page
from sigmafarm.search import find_jobs_of_farm, told

router = APIRouter(include_in_schema=False)

#: Jobs on a page.
PAGE_JOBS = 60


@router.get("/jobs")
def jobs(visit: Visiting, wanted: WantedHere, owner: Owner = "", cursor: Cursor = None) -> Html:
    store, whose = visit.site.store, visit.caller.lists(owner)
    found = wanted.problem
    if wanted.search.strip() and not found and cursor is None:
        found = told(wanted, find_jobs_of_farm(store, wanted, owner=whose))
    page = farm_jobs_page(store, wanted, owner=whose, cursor=cursor, limit=PAGE_JOBS)
    older = query("/jobs", {"q": wanted.search, "owner": owner, "cursor": page.next}) if page.next else ""
    tiles = [tile(job) for job in page.items]
    return visit.page(
        "jobs.html", tiles=tiles, found=found, wanted=wanted, owner=owner, older=older, is_first=cursor is None
    )
