"""The workers: what they draw on, how fast, what they hold; and letting them rest."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.responses import Response

from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.views.worker import worker_view
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.guard.callers import FormAdmin
from sigmafarm.http.path_params import WorkerId
from sigmafarm.shapes import parts_text
from sigmafarm_common.namesakes import find_namesakes
from sigmafarm_common.residents import seen_models

router = APIRouter(include_in_schema=False)


@router.get("/workers")
def workers(visit: Visiting, did: str = "") -> Html:
    return visit.page("workers.html", did=did, **_about(visit))


@router.get("/parts/workers")
def workers_part(visit: Visiting) -> Html:
    return visit.page("parts/workers.html", **_about(visit))


@router.post("/workers/{worker_id}/drain")
def drain(
    visit: Visiting, _caller: FormAdmin, worker_id: WorkerId, is_draining: Annotated[bool, Form()] = True
) -> Response:
    visit.site.store.drain_worker(worker_id, is_draining=is_draining)
    return visit.see("/workers", did="drained" if is_draining else "undrained")


def _about(visit: Visit) -> dict[str, Any]:
    site = visit.site
    workers = site.store.workers()
    held = [(worker, site.held_jobs(visit.caller, worker.id)) for worker in workers]
    return {
        "namesakes": [str(namesakes) for namesakes in find_namesakes(workers)],
        "workers": [worker_view(worker, jobs, visit.now_ms) for worker, jobs in held],
        "models": [(model, parts_text(model.card.parts)) for model in seen_models(site.farm.models(), workers)],
    }
