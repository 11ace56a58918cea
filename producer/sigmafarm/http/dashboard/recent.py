"""What happened last: the newest pictures and failures, read from the newest events.

Failures of the newest batches are shown too: a busy farm's events push them out soon.

A finished job's record is remembered for a while, so that a page that is looked at costs one read and not one a
picture. A job that was retried since is found out by its later event.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm_common.errors import NotFound
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Event

#: Events that are looked at, and jobs that are remembered.
LOOKED_AT, REMEMBERED = 300, 512
#: The most pictures and failures that a page shows.
NUM_PICTURES, NUM_FAILURES = 18, 6


@dataclass(frozen=True)
class Recent:
    """The newest of each, newest first."""

    pictures: list[Job]
    failures: list[Job]


class Memory:
    """Ended jobs by the event that told of their end. Safe for threads."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def recent(self, site: Site, caller: Caller, batches: Iterable[Batch]) -> Recent:
        """Return what happened last, as far as the caller may see it; the batches are those that he may."""
        newest = _last_words(site.store.last_events(limit=LOOKED_AT))
        pictures = self._jobs_of(site, caller, newest, JobState.SUCCEEDED, NUM_PICTURES)
        failures = {job.id: job for job in self._jobs_of(site, caller, newest, JobState.FAILED, NUM_FAILURES)}
        for batch in batches:
            if batch.counts.failed:
                some = site.store.jobs(batch.id, state=JobState.FAILED, limit=NUM_FAILURES)
                failures |= {job.id: job for job in some}
        return Recent(pictures, sorted(failures.values(), key=lambda job: -job.finished_ms)[:NUM_FAILURES])

    def _jobs_of(self, site: Site, caller: Caller, events: list[Event], state: JobState, limit: int) -> list[Job]:
        found: list[Job] = []
        for event in events:
            if event.kind != f"job.{state}":
                continue
            if not caller.is_admin and site.feed.owner_of(site.store, event.batch_id) != caller.owner:
                continue
            job = self._job(site, event)
            if job is not None and job.state is state and caller.may_see(job.owner):
                found.append(job)
            if len(found) == limit:
                break
        return found

    def _job(self, site: Site, event: Event) -> Job | None:
        with self._lock:
            if event.id in self._jobs:
                return self._jobs[event.id]
        try:
            job = site.store.job(event.job_id)
        except NotFound:  # its batch was forgotten since
            return None
        with self._lock:
            self._jobs[event.id] = job
            while len(self._jobs) > REMEMBERED:
                self._jobs.popitem(last=False)
        return job


def _last_words(events: Iterable[Event]) -> list[Event]:
    """Return the newest event of each job, newest first."""
    last: dict[str, Event] = {}
    for event in events:
        if event.job_id:
            last.setdefault(event.job_id, event)
    return list(last.values())
