"""The farm itself: its figures, its workers (and draining them), its models."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sigmafarm.figures import images_per_s, work_left, worker_seconds_by_model
from sigmafarm.http.answers import Json, tagged
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import Admin, Reader
from sigmafarm.http.path_params import WorkerId
from sigmafarm.http.schemas import NOT_MODIFIED, FarmShape, ModelsShape, WorkerShape, WorkersShape, problems
from sigmafarm.http.site import Site, SiteDep
from sigmafarm.shapes import eta_json, model_json, openai_model_json, queue_json, worker_json
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store import refusals

router = APIRouter(tags=["farm"])


@router.get("/v1/farm", operation_id="get_farm", response_model=FarmShape, responses={**NOT_MODIFIED, **problems()})
def get_farm(
    request: Request,
    site: SiteDep,
    caller: Reader,
    limit: Annotated[int, Query(ge=0, le=100, description="Batches to show.")] = 20,
) -> Response:
    """Return the farm in figures: queues, workers, pace, seconds of work, the newest batches."""
    return tagged(request, _farm_figures(site, caller, limit))


@router.get(
    "/v1/workers", operation_id="list_workers", response_model=WorkersShape, responses={**NOT_MODIFIED, **problems()}
)
def list_workers(request: Request, site: SiteDep, caller: Reader) -> Response:
    """List the workers that live, with the jobs in their hands."""
    return tagged(request, {"workers": [_worker_with_jobs(site, caller, worker) for worker in site.store.workers()]})


@router.post(
    "/v1/workers/{worker_id}/drain", operation_id="drain_worker", response_model=WorkerShape, responses=problems(404)
)
def drain_worker(site: SiteDep, caller: Admin, worker_id: WorkerId) -> Response:
    """Let a worker finish what it has and take no more."""
    return _drain(site, caller, worker_id, is_draining=True)


@router.post(
    "/v1/workers/{worker_id}/undrain",
    operation_id="undrain_worker",
    response_model=WorkerShape,
    responses=problems(404),
)
def undrain_worker(site: SiteDep, caller: Admin, worker_id: WorkerId) -> Response:
    """Let a drained worker take jobs again."""
    return _drain(site, caller, worker_id, is_draining=False)


@router.get(
    "/v1/models", operation_id="list_models", response_model=ModelsShape, responses={**NOT_MODIFIED, **problems()}
)
def list_models(request: Request, site: SiteDep, caller: Reader) -> Response:
    """List the models that requests may name, with what each fills in."""
    del caller
    seen = site.farm.seen_models()
    # OpenAI's clients offer what is listed there: a model that nobody can load is no offer.
    listed = [openai_model_json(model.card) for model in seen if model.resident or not model.problems]
    return tagged(request, {"object": "list", "data": listed, "models": [model_json(model) for model in seen]})


def _farm_figures(site: Site, caller: Caller, limit: int) -> dict[str, Any]:
    """Return what /v1/farm answers."""
    store = site.store
    queues, workers, pace, newest = store.queues(), store.workers(), store.pace(), store.last_events(limit=1)
    open_cost = sum(queue.open_cost for queue in queues)
    work = work_left(open_cost, pace, sum(worker.takes_jobs for worker in workers))
    num_open = sum(sum(queue.waiting.values()) + queue.dispatched + queue.running for queue in queues)
    batches = store.batches(owner=caller.sees_only, limit=limit) if limit else []
    return {
        "queues": [queue_json(queue, workers) for queue in queues],
        "workers": [worker_json(worker) for worker in workers],
        "batches": [site.said(batch) for batch in batches],
        "totals": store.totals(),
        "pace": [{"start_ms": p.start_ms, "num_pictures": p.num_pictures, "cost": p.cost} for p in pace],
        "images_per_s": round(images_per_s(pace, 1000 * site.clock.wall_s()), 4),
        "open_cost": open_cost,
        "work_s": work.work_s,
        "worker_seconds": work.worker_seconds,
        "worker_seconds_by_model": worker_seconds_by_model(queues, store.models(), pace, len(workers)),
        "is_measured": work.is_measured,
        **eta_json(site.forecaster.now().of_all(open_cost, num_open)),
        "last_event_id": newest[0].id if newest else "",
    }


def _worker_with_jobs(site: Site, caller: Caller, worker: WorkerInfo) -> dict[str, Any]:
    return {**worker_json(worker), "jobs": site.held_jobs(caller, worker.id)}


def _drain(site: Site, caller: Caller, worker_id: str, *, is_draining: bool) -> Response:
    site.store.drain_worker(worker_id, is_draining=is_draining)
    for worker in site.store.workers():
        if worker.id == worker_id:
            return Json(_worker_with_jobs(site, caller, worker))
    raise refusals.no_worker(worker_id)
