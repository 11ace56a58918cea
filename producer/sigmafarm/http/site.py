"""What routes need: the farm, the settings, who may call, the feed of events. One Site a process, found by injection.

`SiteDep` is for every route; `Reader`, `Submitter` and `Admin` (callers.py) say who calls, and refuse who may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from anyio import CapacityLimiter
from fastapi import Depends, Request
from starlette.responses import Response

from sigmafarm.farm import Farm
from sigmafarm.forecast import Forecaster
from sigmafarm.http.circuit_breaker import open_store
from sigmafarm.http.feed import Feed
from sigmafarm.http.film_strips import FilmStrips
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.guard import Guard
from sigmafarm.http.metrics.collector import registry_of
from sigmafarm.http.metrics.http_durations import HttpDurations
from sigmafarm.http.problems import Problem
from sigmafarm.http.readiness import Readiness
from sigmafarm.shapes import batch_json
from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store import refusals
from sigmafarm_common.store.values import Preview
from sigmafarm_common.tracing import open_tracing

#: Draws an error as a page for people: the status, the headers and the body that a program would get.
ErrorPage = Callable[[Request, int, Problem], Response]
#: Says an error as the clients of another interface read it: the status and the body that a program of ours would get.
ErrorForm = Callable[[int, Problem], Response]

#: Pause between two words to the workers that somebody looks; previews are shown for ten seconds after each.
WANT_AGAIN_S = 3.0
#: Threads for the object store, of those of the process.
NUM_OBJECT_THREADS = 24
#: Submissions that are read at the same time: each holds its body, and the interpreter while it is parsed.
NUM_SUBMIT_THREADS = 6
#: Pictures of people that are decoded at the same time: each may need 300 MB.
NUM_PICTURE_THREADS = 2
#: Contact sheets that are drawn at the same time: each reads a hundred pictures.
NUM_SHEET_THREADS = 2


class Site:
    """The parts of one API process. Nothing is asked of Redis before the first request, or `start`."""

    def __init__(self, config: Config, clock: Clock | None = None):
        self.config, self.clock = config, clock or SystemClock()
        self.store = open_store(config, self.clock)
        self.tracing = open_tracing("sigmafarm-api")
        self.farm = Farm(config, store=self.store, clock=self.clock, can_read_files=False, tracing=self.tracing)
        self.guard = Guard(config, self.store, self.clock)
        self.feed = Feed(config)
        self.readiness = Readiness(self.store, lambda: self.farm.objects, self.clock)
        self.metrics = registry_of(self.store, self.clock, self.readiness.is_storage_ready)
        self.durations = HttpDurations(self.metrics)
        #: When things will be done, as far as the farm's pace tells; one look a second for all who ask.
        self.forecaster = Forecaster(self.store, self.clock)
        self.strips = FilmStrips()
        #: Requests that may wait for the object store at the same time: a slow one must not hold up all others.
        self.object_threads = CapacityLimiter(NUM_OBJECT_THREADS)
        self.submit_threads = CapacityLimiter(NUM_SUBMIT_THREADS)
        self.picture_threads = CapacityLimiter(NUM_PICTURE_THREADS)
        self.sheet_threads = CapacityLimiter(NUM_SHEET_THREADS)
        self._want_again_s = 0.0
        #: How errors look to browsers outside of /v1; None: as to programs.
        self.error_page: ErrorPage | None = None
        #: How errors look below a path, where that speaks another interface.
        self.error_forms: dict[str, ErrorForm] = {}
        #: How a key may be said below a path, where that is not as everywhere (WWW-Authenticate).
        self.challenges: dict[str, str] = {}

    def want_previews(self) -> None:
        """Tell the workers that somebody looks at previews, at most once in WANT_AGAIN_S."""
        now_s = self.clock.monotonic_s()
        if now_s >= self._want_again_s:
            self._want_again_s = now_s + WANT_AGAIN_S
            self.store.want_previews()

    def preview_of(self, job: Job) -> Preview | None:
        """Return the newest preview of a job that runs, None where there is none (any more); its strip keeps it."""
        preview = self.store.preview(job.id) if job.state is JobState.RUNNING else None
        if preview is not None:
            self.strips.add(preview)
        return preview

    def batch_of(self, caller: Caller, batch_id: str) -> Batch:
        """Return a batch that the caller may see. Raises NotFound for one of another owner too."""
        batch = self.store.batch(batch_id)
        if not caller.may_see(batch.owner):
            raise refusals.no_batch(batch_id)
        return batch

    def job_of(self, caller: Caller, job_id: str) -> Job:
        """Return a job that the caller may see. Raises NotFound for one of another owner too."""
        job = self.store.job(job_id)
        if not caller.may_see(job.owner):
            raise refusals.no_job(job_id)
        return job

    def said(self, batch: Batch) -> dict[str, Any]:
        """Return a batch as JSON, with when it will be done."""
        return batch_json(batch, self.forecaster.of_batch(batch))

    def held_jobs(self, caller: Caller, worker_id: str) -> list[str]:
        """Return the jobs in a worker's hands, as far as the caller may see them."""
        held = self.store.held_jobs(worker_id)
        if caller.is_admin:
            return held
        return [job for job in held if self.feed.owner_of(self.store, job.partition("-")[0]) == caller.owner]

    def close(self) -> None:
        """Let go of the connections."""
        self.farm.close()
        self.tracing.close()


async def site_of(request: Request) -> Site:
    """Return the site that a request came to."""
    return request.app.state.site


SiteDep = Annotated[Site, Depends(site_of)]
