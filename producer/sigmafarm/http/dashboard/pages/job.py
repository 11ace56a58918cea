"""One job: its picture or its preview, its settings, its tries, its times."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from sigmafarm.forecast import turn_words
from sigmafarm.http.actions import steer
from sigmafarm.http.answers import FOR_GOOD, unchanged
from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.insides import Insides
from sigmafarm.http.dashboard.thumbnails import Thumbnails
from sigmafarm.http.dashboard.views.copy_as import copies_of_job
from sigmafarm.http.dashboard.views.cures import cure_of
from sigmafarm.http.dashboard.views.inside import HEIGHT, WIDTH, inside_view
from sigmafarm.http.dashboard.views.job import spans_of, strip_of, tile, tries_of
from sigmafarm.http.dashboard.views.settings import figures_of, pictures_of, texts_of
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.guard.callers import FormSubmitter
from sigmafarm.http.path_params import JobId
from sigmafarm.takers import why_job_waits
from sigmafarm_common.errors import NotFound
from sigmafarm_common.picture_inputs import sha256_of
from sigmafarm_common.settings import PICTURE_FIELDS
from sigmafarm_common.states import JobState


def make_router() -> APIRouter:
    """Return the routes, with thumbnails and looks inside of their own."""
    made = APIRouter(prefix="/jobs/{job_id}", include_in_schema=False)
    thumbnails, insides = Thumbnails(), Insides()

    made.get("")(job_page)
    made.get("/live")(job_live)
    made.get("/facts")(job_facts)
    made.post("/retry")(retry)
    made.post("/cancel")(cancel)

    @made.get("/thumb")
    def thumb(request: Request, visit: Visiting, job_id: JobId) -> Response:
        job = visit.site.job_of(visit.caller, job_id)
        if not job.image_key:
            raise NotFound(f"job {job.id} has no picture: it is {job.state}")
        tag = f'"t-{job.sha256}"'
        if same := unchanged(request, tag):
            return same
        small = thumbnails.of(visit.site.farm.objects, job.image_key)
        return Response(small.data, media_type=small.media_type, headers={"ETag": tag, "Cache-Control": FOR_GOOD})

    @made.get("/inside")
    def inside(visit: Visiting, job_id: JobId) -> Html:
        """Return what a job's picture says of its drawing."""
        job = visit.site.job_of(visit.caller, job_id)
        found, why = None, "Known as soon as the picture is drawn: its worker writes it into the file."
        if job.state.is_terminal:
            why = "There is no picture to look into."
        if job.image_key:
            try:
                found, why = (
                    insides.of(visit.site.farm.objects, job.image_key),
                    "The picture's file does not say.",
                )
            except NotFound:
                why = "The picture's file is gone."
        if found is None:
            return visit.page("parts/inside.html", why=why)
        about = inside_view(found, job.request)
        return visit.page("parts/inside.html", why="", about=about, width=WIDTH, height=HEIGHT)

    @made.get("/pictures/{name}")
    def given(request: Request, visit: Visiting, job_id: JobId, name: str) -> Response:
        """Return a picture that a job draws from, small."""
        job = visit.site.job_of(visit.caller, job_id)
        sha256 = sha256_of(getattr(job.request, name) or "") if name in PICTURE_FIELDS else None
        if sha256 is None:
            raise NotFound(f"job {job.id} names no picture {name[:40]!r}: its settings say what it has")
        upload = visit.site.store.upload(job.owner, sha256)
        tag = f'"t-{upload.sha256}"'
        if same := unchanged(request, tag):
            return same
        small = thumbnails.of(visit.site.farm.objects, upload.key)
        return Response(small.data, media_type=small.media_type, headers={"ETag": tag, "Cache-Control": FOR_GOOD})

    return made


def job_page(visit: Visiting, job_id: JobId, did: str = "") -> Html:
    return visit.page("job.html", did=did, **_about(visit, job_id), strip=strip_of(visit.site.strips.of(job_id)))


def job_live(visit: Visiting, job_id: JobId) -> Html:
    """Return the part that changes."""
    return visit.page("parts/job_live.html", **_about(visit, job_id))


def job_facts(visit: Visiting, job_id: JobId) -> Html:
    """Return what a picture was drawn with, for the viewer."""
    job = visit.site.job_of(visit.caller, job_id)
    return visit.page("parts/facts.html", job=job, figures=figures_of(job), texts=texts_of(job))


def retry(visit: Visiting, _caller: FormSubmitter, job_id: JobId) -> Response:
    steer.retry_job(visit.site, visit.caller, job_id)
    return visit.see(f"/jobs/{job_id}", did="retried")


def cancel(visit: Visiting, _caller: FormSubmitter, job_id: JobId) -> Response:
    state = steer.cancel_job(visit.site, visit.caller, job_id)
    return visit.see(f"/jobs/{job_id}", did="cancelled" if state is JobState.CANCELLED else "ended")


def _about(visit: Visit, job_id: str) -> dict[str, Any]:
    site = visit.site
    job = site.job_of(visit.caller, job_id)
    batch = site.store.batch(job.batch_id)
    if job.state is JobState.RUNNING:
        site.want_previews()
    preview = site.preview_of(job)
    return {
        "job": job,
        "batch": batch,
        "tile": tile(job, preview),
        "copies": copies_of_job(job, visit.address, has_keys=visit.has_keys),
        "cure": cure_of(job) if job.state is JobState.FAILED else None,
        "figures": figures_of(job),
        "texts": texts_of(job),
        "pictures": pictures_of(job),
        "spans": spans_of(job, visit.now_ms),
        "tries": tries_of(job),
        "turn": turn_words(*site.forecaster.of_job(job)),
        "why": why_job_waits(site.store, job, batch),
        "before": f"{job.batch_id}-{job.row - 1:06d}" if job.row else "",
        "behind": f"{job.batch_id}-{job.row + 1:06d}" if job.row + 1 < batch.counts.total else "",
    }


router = make_router()
