"""Steer what the caller may: batches, single jobs and how they are rated, and the jobs of a batch that a filter means.

What may not be seen does not exist: each raises NotFound for the batch or job of another owner.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm.search import JobFilter, find_jobs
from sigmafarm_common.errors import Conflict
from sigmafarm_common.records import Batch
from sigmafarm_common.states import JobState

#: The states from which a cancel, and a retry, moves a job.
OPEN = frozenset({JobState.QUEUED, JobState.RUNNING})
ENDED = frozenset({JobState.FAILED, JobState.CANCELLED})


class Act(StrEnum):
    """What is done to the jobs that a filter means."""

    CANCEL = "cancel"
    RETRY = "retry"


def pause_batch(site: Site, caller: Caller, batch_id: str) -> Batch:
    """Stop drawing a batch."""
    return site.store.pause_batch(site.batch_of(caller, batch_id).id)


def resume_batch(site: Site, caller: Caller, batch_id: str) -> Batch:
    """Go on with a paused batch."""
    return site.store.resume_batch(site.batch_of(caller, batch_id).id)


def set_priority(site: Site, caller: Caller, batch_id: str, priority: int) -> Batch:
    """Change the priority of what still waits."""
    return site.store.set_priority(site.batch_of(caller, batch_id).id, priority)


def cancel_job(site: Site, caller: Caller, job_id: str) -> JobState:
    """Cancel a queued or running job; return its state: one that has ended stays as it is."""
    return site.store.cancel_job(site.job_of(caller, job_id).id)


def retry_job(site: Site, caller: Caller, job_id: str) -> None:
    """Queue a failed or cancelled job again. Raises IllegalTransition, QuotaExceeded."""
    site.store.retry_job(site.job_of(caller, job_id).id, max_open_jobs=site.config.max_open_jobs)


def rate_job(site: Site, caller: Caller, job_id: str, rating: int) -> None:
    """Keep how a picture is rated, from 1 to 5; 0 takes it back. Raises Conflict for a job without a picture."""
    site.store.rate_job(site.job_of(caller, job_id).id, rating)


def cancel_jobs(site: Site, batch: Batch, wanted: JobFilter) -> tuple[int, bool]:
    """Cancel what a filter means; return how many, and whether the whole batch was looked at."""
    if wanted.is_all:
        return site.store.cancel_batch(batch.id), True
    meant = jobs_meant(wanted, Act.CANCEL)
    return _change_each(site, batch, meant, lambda job_id: site.store.cancel_job(job_id) is JobState.CANCELLED)


def retry_jobs(site: Site, batch: Batch, wanted: JobFilter) -> tuple[int, bool]:
    """Queue what a filter means again, failed jobs only unless it names states; return as `cancel_jobs` does."""
    meant = jobs_meant(wanted, Act.RETRY)
    if meant is not None and meant.is_by_state_only:
        max_open_jobs = site.config.max_open_jobs
        return site.store.retry_batch(batch.id, states=meant.states, max_open_jobs=max_open_jobs), True
    return _change_each(site, batch, meant, lambda job_id: _try_retry(site, job_id))


def jobs_meant(wanted: JobFilter, act: Act) -> JobFilter | None:
    """Return the jobs that an act looks at, None where the filter means none of them."""
    if act is Act.CANCEL:
        return wanted.within(OPEN)
    return wanted.within(ENDED if wanted.states else frozenset({JobState.FAILED}))


def count_jobs(site: Site, batch: Batch, wanted: JobFilter) -> tuple[int, bool]:
    """Return how many jobs of a batch a filter means, and whether all were looked at; by counters where they do."""
    if wanted.is_by_state_only:
        return sum(getattr(batch.counts, state) for state in wanted.states or JobState), True
    only_failed = wanted.states in (frozenset(), frozenset({JobState.FAILED}))
    if wanted == JobFilter(wanted.states, error_code=wanted.error_code) and only_failed:
        return site.store.failures(batch.id).get(wanted.error_code, 0), True
    if wanted == JobFilter(warning=wanted.warning):
        return batch.warnings.get(wanted.warning, 0), True
    found = find_jobs(site.store, batch, wanted)
    return found.num, found.is_complete


def _change_each(site: Site, batch: Batch, wanted: JobFilter | None, change: Callable[[str], bool]) -> tuple[int, bool]:
    if wanted is None:
        return 0, True
    found = find_jobs(site.store, batch, wanted)
    return sum(change(job_id) for job_id in found.ids), found.is_complete


def _try_retry(site: Site, job_id: str) -> bool:
    try:
        site.store.retry_job(job_id, max_open_jobs=site.config.max_open_jobs)
    except Conflict:  # it moved since it was read
        return False
    return True
