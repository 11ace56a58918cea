"""One batch: its pictures in row order, what is being drawn right now, its failures by reason.

The grid of a whole batch comes in chunks of CHUNK rows: the page holds an empty tile a job, and a chunk is filled when
it comes into view. A narrowed list comes in pages instead, by cursor: nobody knows beforehand which rows it holds.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from sigmafarm.http.actions.steer import ENDED, OPEN
from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.query import filter_fields, query
from sigmafarm.http.dashboard.views.bars import num_in
from sigmafarm.http.dashboard.views.batch import batch_view, failure_groups
from sigmafarm.http.dashboard.views.copy_as import copies_of_batch
from sigmafarm.http.dashboard.views.job import ROW_CHARS, TILE_CHARS, Tile, ranges, tile, under_way
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.job_filter import JobFilter
from sigmafarm.http.job_filter import WantedHere as Wanted
from sigmafarm.http.pagination import Cursor, jobs_page
from sigmafarm.http.path_params import BatchId
from sigmafarm.search import JobOrder, find_jobs, told
from sigmafarm.sheets import Sheet
from sigmafarm.takers import why_it_waits
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState

router = APIRouter(include_in_schema=False)

#: Rows that are filled in at once, and jobs on a page of a narrowed list or of the table.
CHUNK, PAGE_JOBS = 100, 100
#: Running jobs that are shown with their previews; tiles that one refresh may ask for.
NUM_NOW, MAX_TILES = 24, 400
#: Failed jobs that are read for what their reasons say.
NUM_EXAMPLES = 25

View = Annotated[str, Query(pattern="^(grid|table|sheet)?$")]
Sort = Annotated[JobOrder, Query()]


@router.get("/batches/{batch_id}")
def batch_page(
    visit: Visiting,
    batch_id: BatchId,
    wanted: Wanted,
    view: View = "",
    did: str = "",
    num: int = 0,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
    sort: Sort = JobOrder.ROW,
) -> Html:
    seen = visit.newest_event()
    batch = visit.site.batch_of(visit.caller, batch_id)
    about: dict[str, Any] = {**_head(visit, batch, wanted, view, sort), "did": did, "num": num, "sort": sort}
    about["seen"] = seen
    about["found"] = _found(visit, batch, wanted)
    if view == "sheet":
        pages = Sheet(visit.site.store, visit.site.farm.objects, batch).num_pages
        return visit.page("batch.html", **about, first=[], starts=[], tiles=[], more="", page=page, pages=pages)
    if wanted.is_all and view != "table" and sort is JobOrder.ROW:
        first = _tiles(visit, visit.site.store.jobs(batch.id, limit=CHUNK))
        starts = range(0, batch.counts.total, CHUNK)
        return visit.page("batch.html", **about, first=first, starts=starts, chunk=CHUNK, tiles=[], more="")
    return visit.page(
        "batch.html", **about, first=[], starts=[], chunk=CHUNK, **_page_of(visit, batch, wanted, view, sort)
    )


@router.get("/batches/{batch_id}/head")
def batch_head(visit: Visiting, batch_id: BatchId, wanted: Wanted, view: View = "", sort: Sort = JobOrder.ROW) -> Html:
    """Return the live part: counts, chips, failures, what is being drawn."""
    batch = visit.site.batch_of(visit.caller, batch_id)
    return visit.page("parts/batch_head.html", **_head(visit, batch, wanted, view, sort))


@router.get("/batches/{batch_id}/chunk")
def batch_chunk(visit: Visiting, batch_id: BatchId, first: Annotated[int, Query(ge=0)]) -> Html:
    """Return the filled tiles of a chunk."""
    batch = visit.site.batch_of(visit.caller, batch_id)
    jobs = visit.site.store.jobs(batch.id, after_row=first - 1, limit=CHUNK)
    return visit.page("parts/rows.html", tiles=_tiles(visit, jobs), view="")


@router.get("/batches/{batch_id}/more")
def batch_more(
    visit: Visiting,
    batch_id: BatchId,
    wanted: Wanted,
    view: View = "",
    cursor: Cursor = None,
    sort: Sort = JobOrder.ROW,
) -> Html:
    """Return the next page of a narrowed list."""
    batch = visit.site.batch_of(visit.caller, batch_id)
    return visit.page(
        "parts/more.html", view=view, chunk=PAGE_JOBS, **_page_of(visit, batch, wanted, view, sort, cursor)
    )


@router.get("/batches/{batch_id}/rows")
def batch_rows(visit: Visiting, batch_id: BatchId, wanted: Wanted, view: View = "", sort: Sort = JobOrder.ROW) -> Html:
    """Return the first page of a narrowed list as it is now."""
    batch = visit.site.batch_of(visit.caller, batch_id)
    return visit.page("parts/rows.html", view=view, **_page_of(visit, batch, wanted, view, sort))


@router.get("/batches/{batch_id}/tiles")
def batch_tiles(visit: Visiting, batch_id: BatchId, rows: str, view: View = "") -> Response:
    """Return the tiles (or rows of the table) of some rows, each for its own place on the page."""
    batch = visit.site.batch_of(visit.caller, batch_id)
    asked = _parse_rows(rows)
    store = visit.site.store
    jobs = [
        job
        for first, last in ranges(asked)
        for job in store.jobs(batch.id, after_row=first - 1, limit=last - first + 1)
        if job.row in asked
    ]
    num_chars = ROW_CHARS if view == "table" else TILE_CHARS
    return visit.page("parts/changed.html", tiles=_tiles(visit, jobs, num_chars), view=view)


def _parse_rows(rows: str) -> set[int]:
    parts = rows.split(",")[:MAX_TILES]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise InvalidRequest([FieldError("rows", "rows must be numbers with commas between them")])
    return {int(part) for part in parts}


def _found(visit: Visit, batch: Batch, wanted: JobFilter) -> str:
    """Return how many jobs a search means, or why it cannot be read; empty where nothing is searched for."""
    if wanted.problem or not wanted.search.strip():
        return wanted.problem
    return told(wanted, find_jobs(visit.site.store, batch, wanted))


def _head(visit: Visit, batch: Batch, wanted: JobFilter, view: str, sort: JobOrder) -> dict[str, Any]:
    store = visit.site.store
    is_shown = bool(batch.counts.running) and (wanted.is_all or JobState.RUNNING in wanted.states)
    running = store.jobs(batch.id, state=JobState.RUNNING, limit=NUM_NOW) if is_shown else []
    failures = store.failures(batch.id) if batch.counts.failed else {}
    failed = store.jobs(batch.id, state=JobState.FAILED, limit=NUM_EXAMPLES) if failures else []
    return {
        "batch": batch,
        "view": view,
        "wanted": wanted,
        "fields": filter_fields(wanted),
        "about": batch_view(batch, visit.site.forecaster.of_batch(batch), visit.now_ms, why_it_waits(store, batch)),
        "now": under_way(_tiles(visit, running)),
        "groups": failure_groups(failures, failed),
        "states": list(JobState),
        "link": Linker(batch, wanted, view, sort),
        "copies": copies_of_batch(batch, visit.address, has_keys=visit.has_keys),
        "can_cancel": not batch.counts.is_done and wanted.within(OPEN) is not None,
        "can_retry": _can_retry(batch, wanted),
    }


def _can_retry(batch: Batch, wanted: JobFilter) -> bool:
    """Whether a retry of what matches could mean any job: failed ones, cancelled ones where they are asked for."""
    if not wanted.states:
        return batch.counts.failed > 0
    return any(num_in(batch.counts, state) for state in wanted.states & ENDED)


def _page_of(
    visit: Visit, batch: Batch, wanted: JobFilter, view: str, sort: JobOrder, cursor: str | None = None
) -> dict[str, Any]:
    found = jobs_page(visit.site.store, batch, wanted, order=sort, cursor=cursor, limit=PAGE_JOBS)
    num_chars = ROW_CHARS if view == "table" else TILE_CHARS
    return {
        "tiles": _tiles(visit, found.items, num_chars),
        "more": Linker(batch, wanted, view, sort).part("more", cursor=found.next) if found.next else "",
    }


def _tiles(visit: Visit, jobs: list[Job], num_chars: int = TILE_CHARS) -> list[Tile]:
    """Return tiles, running ones with their previews: whoever looks makes the workers show them."""
    running = [job for job in jobs if job.state is JobState.RUNNING]
    if running:
        visit.site.want_previews()
    previews = {job.id: visit.site.preview_of(job) for job in running}
    return [tile(job, previews.get(job.id), num_chars=num_chars) for job in jobs]


class Linker:
    """Addresses of one batch with its filter and view kept, but for what is said anew."""

    def __init__(self, batch: Batch, wanted: JobFilter, view: str, sort: JobOrder):
        self._sort = sort
        self._path = f"/batches/{batch.id}"
        self._said = {
            "state": [str(state) for state in sorted(wanted.states)],
            "error_code": wanted.error_code,
            "q": wanted.search,
            "model": wanted.model,
            "warning": wanted.warning,
            "where": [str(each) for each in wanted.where],
            "view": view,
            "sort": "" if sort is JobOrder.ROW else sort,
        }

    def __call__(self, **changes: Any) -> str:
        return query(self._path, {**self._said, **changes})

    def sorted(self, key: str) -> str:
        """Return the address of the table sorted by something; by what it is sorted by already, the other way round."""
        order = self._sort.turned if self._sort.key == key else JobOrder(key)
        return self(sort="" if order is JobOrder.ROW else order)

    def part(self, name: str, **changes: Any) -> str:
        return query(f"{self._path}/{name}", {**self._said, **changes})

    def confirm(self, act: str, **changes: Any) -> str:
        """Return the address of the question before an act on all that match."""
        return query(f"{self._path}/confirm", {**self._said, "view": "", "sort": "", **changes, "act": act})
