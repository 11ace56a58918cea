"""POST /v1/batches: prompts in, a batch out: all of them accepted, or none. POST /v1/plan: what that would be."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from sigmafarm.http.actions.submission_body import MULTIPART, Parcel, read_rows, receive
from sigmafarm.http.actions.submission_options import Options
from sigmafarm.http.actions.submit import plan, submit
from sigmafarm.http.answers import Json
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import Submitter
from sigmafarm.http.schemas import PlanShape, SubmittedShape, problems
from sigmafarm.http.site import Site, SiteDep
from sigmafarm.shapes import plan_json, skipped_json

router = APIRouter()

_TEXT: dict[str, Any] = {"type": "string"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            "JSON, or one row a line: JSON lines, CSV with a header, text; or such a file in a form. In a form and for "
            "rows, options and the defaults of rows stand in the query or in the form's fields."
        ),
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/SubmissionShape"}},
            "application/x-ndjson": {"schema": _TEXT, "example": '{"prompt": "a boat", "seed": 4}\n"a red barn"\n'},
            "text/csv": {"schema": _TEXT, "example": "prompt,seed\na boat,4\n"},
            "text/plain": {"schema": _TEXT, "example": "a boat\na red barn\n"},
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "Prompts, by its ending."}
                    },
                    "required": ["file"],
                }
            },
        },
    }
}

IdempotencyKey = Annotated[
    str | None, Header(max_length=200, description="Said again by the same owner, gives the same batch.")
]


@router.post(
    "/v1/batches",
    tags=["batches"],
    operation_id="submit_batch",
    summary="Submit prompts",
    status_code=201,
    response_model=SubmittedShape,
    responses={
        200: {"model": SubmittedShape, "description": "The batch of the idempotency key, which was there already."},
        **problems(409, 413, 415),
    },
    openapi_extra=_BODY,
)
async def submit_batch(
    request: Request,
    site: SiteDep,
    caller: Submitter,
    options: Annotated[Options, Query()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Accept all rows, or none and tell every bad one. 201 for a new batch, 200 for the same once more."""
    async with receive(request, options) as (parcel, said):
        return await to_thread.run_sync(
            _submit, site, caller, parcel, said, idempotency_key, limiter=site.submit_threads
        )


def _submit(site: Site, caller: Caller, parcel: Parcel, options: Options, key: str | None) -> Response:
    rows, said = read_rows(parcel, options, site.config.max_rows)
    batch = submit(site, caller.owner, rows, said, key, source=parcel.name if parcel.is_file else "")
    skipped = {"skipped": skipped_json(batch.skipped), "num_skipped": batch.num_skipped}
    made = {"batch": site.said(batch.record), "is_new": batch.is_new, **skipped}
    return Json(made, 201 if batch.is_new else 200, {"Location": f"/v1/batches/{batch.id}"})


@router.post(
    "/v1/plan",
    tags=["batches"],
    operation_id="plan_batch",
    summary="Plan a submission",
    response_model=PlanShape,
    responses=problems(413, 415),
    openapi_extra=_BODY,
)
async def plan_batch(
    request: Request, site: SiteDep, caller: Submitter, options: Annotated[Options, Query()]
) -> Response:
    """Check a submission and say what it would make: how many jobs, and the first of them. Nothing is accepted."""
    async with receive(request, options) as (parcel, said):
        return await to_thread.run_sync(_plan, site, caller, parcel, said, limiter=site.submit_threads)


def _plan(site: Site, caller: Caller, parcel: Parcel, options: Options) -> Response:
    rows, said = read_rows(parcel, options, site.config.max_rows)
    return Json(plan_json(plan(site, caller.owner, rows, said)))
