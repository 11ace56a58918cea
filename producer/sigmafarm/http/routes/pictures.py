"""Pictures: one, its preview while it is drawn, a batch's as a zip, and the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from sigmafarm.http.answers import FOR_GOOD, unchanged
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import Reader
from sigmafarm.http.path_params import BatchId, JobId
from sigmafarm.http.pieces import Pieces
from sigmafarm.http.ranges import RANGES, asked_span, cut, wants_part
from sigmafarm.http.routes.archive import FORM, sizes_of, zip_pictures, zip_size
from sigmafarm.http.row_spans import Rows, jobs_in, spans_of
from sigmafarm.http.schemas import NOT_MODIFIED, problems
from sigmafarm.http.site import Site, SiteDep
from sigmafarm.http.stored_files import stored_file
from sigmafarm_common.errors import NotFound
from sigmafarm_common.manifest import all_jobs, manifest_line
from sigmafarm_common.records import Job

router = APIRouter()

#: How long a link to a picture works.
LINK_S = 300
ZIP = "application/zip"

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_PICTURES: dict[str, Any] = dict.fromkeys(("image/png", "image/jpeg", "image/webp"), _BINARY)


@router.get(
    "/v1/jobs/{job_id}/image",
    tags=["jobs"],
    operation_id="get_image",
    response_class=Response,
    responses={
        200: {"content": _PICTURES, "description": "The picture."},
        302: {"description": "A link to it that works for some minutes, where pictures lie in a bucket."},
        **RANGES,
        **NOT_MODIFIED,
        **problems(404),
    },
)
async def get_image(
    request: Request,
    site: SiteDep,
    caller: Reader,
    job_id: JobId,
    redirect: Annotated[bool, Query(description="False: the picture itself, wherever it lies.")] = True,
) -> Response:
    """Return a job's picture: a redirect to a short-lived link in a bucket, or the bytes."""
    return await to_thread.run_sync(_image, request, site, caller, job_id, redirect, limiter=site.object_threads)


def _image(request: Request, site: Site, caller: Caller, job_id: str, redirect: bool) -> Response:
    job = site.job_of(caller, job_id)
    if not job.image_key:
        raise NotFound(f"job {job.id} has no picture: it is {job.state}")
    is_linked = redirect and site.config.image_links
    link = site.farm.objects.url(job.image_key, LINK_S) if is_linked else ""
    if link.startswith(("http://", "https://")):
        return RedirectResponse(link, 302, {"Cache-Control": "private, no-store"})
    name = f"{job.id}{PurePosixPath(job.image_key).suffix}"
    headers = {"Cache-Control": FOR_GOOD, "Content-Disposition": f'inline; filename="{name}"'}
    return stored_file(request, site, job.image_key, size_bytes=job.size_bytes, sha256=job.sha256, headers=headers)


@router.get(
    "/v1/jobs/{job_id}/preview",
    tags=["jobs"],
    operation_id="get_preview",
    response_class=Response,
    responses={
        200: {"content": {"image/webp": _BINARY}, "description": "A small picture of the latents as they are now."},
        **NOT_MODIFIED,
        **problems(404),
    },
)
def get_preview(request: Request, site: SiteDep, caller: Reader, job_id: JobId) -> Response:
    """Return the newest preview of a running job. Asking makes its worker show previews for some seconds."""
    job = site.job_of(caller, job_id)
    site.want_previews()
    preview = site.store.preview(job.id)
    if preview is None:
        raise NotFound(f"job {job.id} shows no preview: it is {job.state}; ask again in a second while it runs")
    tag = f'"{preview.fence}-{preview.step}"'
    headers = {"ETag": tag, "X-Step": str(preview.step)}
    return unchanged(request, tag) or Response(preview.webp, media_type="image/webp", headers=headers)


@router.get(
    "/v1/batches/{batch_id}/download.zip",
    tags=["batches"],
    operation_id="download_batch",
    response_class=Response,
    responses={
        200: {"content": {ZIP: _BINARY}, "description": "A zip."},
        **RANGES,
        **NOT_MODIFIED,
        **problems(404),
    },
)
async def download_batch(
    request: Request, site: SiteDep, caller: Reader, batch_id: BatchId, rows: Rows = ""
) -> Response:
    """Return every picture that is drawn, or those of some rows, and their manifest as one zip, made while it is sent.

    That of a batch that is over is made the same each time, so that a download that broke goes on (Range).
    """
    return await to_thread.run_sync(_zip, request, site, caller, batch_id, rows, limiter=site.object_threads)


def _zip(request: Request, site: Site, caller: Caller, batch_id: str, rows: str) -> Response:
    batch, objects = site.batch_of(caller, batch_id), site.farm.objects
    spans = spans_of(rows)

    def jobs() -> Iterator[Job]:
        return jobs_in(site.store, batch.id, spans) if spans else all_jobs(site.store, batch.id)

    headers = {"Content-Disposition": f'attachment; filename="{batch.id}{"-chosen" if spans else ""}.zip"'}
    if not batch.counts.is_done:
        pieces = _begin(zip_pictures(jobs(), objects))
        return Pieces(pieces, site.object_threads, media_type=ZIP, headers=headers)
    of_rows = f"-{hashlib.sha256(str(spans).encode()).hexdigest()[:16]}" if spans else ""
    tag = f'"{FORM}-{batch.id}-{batch.revision}{of_rows}"'
    headers |= {"ETag": tag, "Accept-Ranges": "bytes"}
    if same := unchanged(request, tag):
        return same
    there = sizes_of(jobs(), objects, batch.id) if wants_part(request, tag) else None
    pieces = zip_pictures(jobs(), objects, there)
    span = asked_span(request, zip_size(jobs(), there), tag) if there is not None else None
    if span is None:
        return Pieces(_begin(pieces), site.object_threads, media_type=ZIP, headers=headers)
    part = _begin(cut(pieces, span))
    return Pieces(part, site.object_threads, media_type=ZIP, headers=headers | span.headers, status_code=206)


@router.get(
    "/v1/batches/{batch_id}/manifest",
    tags=["batches"],
    operation_id="get_manifest",
    response_class=Response,
    responses={
        200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "description": "A line a job."},
        **problems(404),
    },
)
def get_manifest(site: SiteDep, caller: Reader, batch_id: BatchId) -> Response:
    """Return the manifest as of now: one JSON line a job, with its key, SHA-256, settings, state and error."""
    batch = site.batch_of(caller, batch_id)
    lines = (manifest_line(job, job.image_key).encode("utf-8", "replace") for job in all_jobs(site.store, batch.id))
    headers = {"Content-Disposition": f'inline; filename="{batch.id}.jsonl"'}
    return StreamingResponse(_begin(_join(lines)), media_type="application/x-ndjson", headers=headers)


def _begin(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return the pieces with the first at hand already, so that what fails at once is an error and no half answer."""
    begun = _with_first(pieces)
    next(begun)
    return begun


def _with_first(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield nothing once the first piece is there, then all."""
    first = next(pieces, b"")
    yield b""
    yield first
    yield from pieces


def _join(lines: Iterator[bytes], size_bytes: int = 1 << 16) -> Iterator[bytes]:
    """Yield lines in larger pieces."""
    held: list[bytes] = []
    num_bytes = 0
    for line in lines:
        held.append(line)
        num_bytes += len(line)
        if num_bytes >= size_bytes:
            yield b"".join(held)
            held, num_bytes = [], 0
    yield b"".join(held)
