"""The first page: how the farm does, at a glance."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.recent import Memory
from sigmafarm.http.dashboard.views.batch import batch_view
from sigmafarm.http.dashboard.views.job import tile
from sigmafarm.http.dashboard.views.overview import chart, figures, queue_views, total_words
from sigmafarm.http.dashboard.views.worker import worker_view
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.takers import why_all_wait

#: Batches that the overview shows.
NUM_BATCHES = 6


def make_router() -> APIRouter:
    """Return the routes, with a memory of their own of what was shown last."""
    made = APIRouter(include_in_schema=False)
    memory = Memory()

    @made.get("/")
    def overview(visit: Visiting) -> Html:
        return visit.page("overview.html", **_about(visit, memory))

    @made.get("/parts/overview")
    def overview_part(visit: Visiting) -> Html:
        return visit.page("parts/overview.html", **_about(visit, memory))

    return made


router = make_router()


def _about(visit: Visit, memory: Memory) -> dict[str, Any]:
    store, now_ms = visit.site.store, visit.now_ms
    queues, workers, pace = store.queues(), store.workers(), store.pace()
    batches = store.batches(owner=visit.caller.sees_only, limit=NUM_BATCHES)
    recent = memory.recent(visit.site, visit.caller, batches)
    forecaster = visit.site.forecaster
    thumbs = store.first_pictures([each.id for each in batches if each.counts.succeeded])
    forecast = forecaster.now()
    return {
        "figures": figures(queues, workers, pace, now_ms, forecast),
        "chart": chart(store.moments(), now_ms),
        "queues": queue_views(queues, forecast, workers, now_ms),
        "workers": [worker_view(worker, (), now_ms) for worker in workers],
        "batches": [
            batch_view(
                batch, forecaster.of_batch(batch), now_ms, why_all_wait(batch, workers), thumbs.get(batch.id, ())
            )
            for batch in batches
        ],
        "pictures": [tile(job) for job in recent.pictures],
        "failures": recent.failures,
        "totals": total_words(store.totals()) if visit.caller.is_admin else [],
        "has_takers": any(worker.takes_jobs for worker in workers),
        "is_busy": any(queue.open_cost for queue in queues),
    }
