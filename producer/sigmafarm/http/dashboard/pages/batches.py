"""All batches, newest first: searched, filtered, in pages; all of it in the address."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.query import query
from sigmafarm.http.dashboard.views.batch import batch_view
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.job_filter import Search
from sigmafarm.http.pagination import Cursor, Owner, batches_page
from sigmafarm.http.schemas import BatchStatus
from sigmafarm.takers import why_all_wait
from sigmafarm_common.records import Batch

router = APIRouter(include_in_schema=False)

#: Batches on a page.
PAGE_BATCHES = 25


class Wish:
    """What the list is narrowed to."""

    def __init__(self, q: Search = "", status: Annotated[str, Query()] = "", owner: Owner = "", cursor: Cursor = None):
        self.q, self.owner, self.cursor = q.strip(), owner, cursor
        self.status = BatchStatus(status) if status in list(BatchStatus) else None

    def matches(self, batch: Batch) -> bool:
        text = self.q.casefold()
        is_named = not text or text in batch.title.casefold() or text in batch.id or text in batch.owner.casefold()
        return is_named and (self.status is None or BatchStatus.of(batch) is self.status)

    def link(self, path: str = "/batches", **changes: Any) -> str:
        """Return the address of this list with something else said; a change of the filter begins at its start."""
        said = {"q": self.q, "status": self.status or "", "owner": self.owner, "cursor": None, **changes}
        return query(path, said)


Wished = Annotated[Wish, Depends(Wish)]


@router.get("/batches")
def batches(visit: Visiting, wish: Wished) -> Html:
    return visit.page("batches.html", **_about(visit, wish))


@router.get("/parts/batches")
def batches_part(visit: Visiting, wish: Wished) -> Html:
    return visit.page("parts/batches.html", **_about(visit, wish))


def _about(visit: Visit, wish: Wish) -> dict[str, Any]:
    store = visit.site.store
    found = batches_page(store, visit.caller.lists(wish.owner), wish.matches, cursor=wish.cursor, limit=PAGE_BATCHES)
    workers, of_batch = store.workers(), visit.site.forecaster.of_batch
    thumbs = store.first_pictures([each.id for each in found.items if each.counts.succeeded])
    return {
        "batches": [
            batch_view(each, of_batch(each), visit.now_ms, why_all_wait(each, workers), thumbs.get(each.id, ()))
            for each in found.items
        ],
        "wish": wish,
        "older": wish.link(cursor=found.next) if found.next else "",
        "here": wish.link("/parts/batches", cursor=wish.cursor),
        "statuses": list(BatchStatus),
    }
