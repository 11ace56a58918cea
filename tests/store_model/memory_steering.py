"""How people steer what the memory store holds: pause, resume, priority, cancel, retry."""

from __future__ import annotations

from collections.abc import Iterable

from sigmafarm_common.records import Batch
from sigmafarm_common.states import JobState
from sigmafarm_common.store import refusals
from tests.store_model.memory_part import MemoryPart, locked
from tests.store_model.memory_records import BatchRecord


class MemorySteering(MemoryPart):
    """Steers batches and jobs."""

    @locked
    def pause_batch(self, batch_id: str) -> Batch:
        batch = self._sealed(batch_id)
        if not batch.is_paused:
            self._moves.unlink_all(batch)
            batch.is_paused = True
            batch.revision += 1
            self._moves.emit("batch.paused", batch_id)
        return batch.snapshot()

    @locked
    def resume_batch(self, batch_id: str) -> Batch:
        batch = self._sealed(batch_id)
        if batch.is_paused:
            batch.is_paused = False
            self._moves.link_all(batch)
            batch.revision += 1
            self._moves.emit("batch.resumed", batch_id)
        return batch.snapshot()

    @locked
    def set_priority(self, batch_id: str, priority: int) -> Batch:
        batch = self._sealed(batch_id)
        self._moves.unlink_all(batch)
        batch.priority = priority
        self._moves.link_all(batch)
        batch.revision += 1
        self._moves.emit("batch.priority", batch_id, priority=str(priority))
        return batch.snapshot()

    @locked
    def cancel_batch(self, batch_id: str) -> int:
        batch = self._sealed(batch_id)
        self._moves.unlink_all(batch)
        going = [j for state in (JobState.QUEUED, JobState.RUNNING) for j in batch.jobs if j.state is state]
        for job in going:
            self._moves.cancel(job)
        if going:
            self._moves.emit("batch.cancelled", batch_id, count=str(len(going)))
            self._moves.conclude(batch)
        return len(going)

    @locked
    def cancel_job(self, job_id: str) -> JobState:
        job = self._job(job_id)
        if not job.state.is_terminal:
            self._moves.cancel(job)
            self._moves.emit("job.cancelled", job.batch.id, job_id)
            self._moves.conclude(job.batch)
        return job.state

    @locked
    def retry_batch(
        self, batch_id: str, *, states: Iterable[JobState] = (JobState.FAILED,), max_open_jobs: int = 0
    ) -> int:
        batch = self._sealed(batch_id)
        return sum(self._retry_state(batch, state, max_open_jobs) for state in states)

    def _retry_state(self, batch: BatchRecord, state: JobState, max_open_jobs: int) -> int:
        jobs = [j for j in batch.jobs if j.state is state]
        self._check_retries(batch, batch.id, len(jobs), max_open_jobs)
        for job in jobs:
            self._moves.retry(job)
        if jobs:
            self._moves.emit("batch.retried", batch.id, count=str(len(jobs)))
        return len(jobs)

    @locked
    def retry_job(self, job_id: str, *, max_open_jobs: int = 0) -> None:
        job = self._job(job_id)
        if job.state not in (JobState.FAILED, JobState.CANCELLED):
            raise refusals.cannot_be_retried(job_id, job.state)
        self._check_retries(job.batch, job_id, 1, max_open_jobs)
        self._moves.retry(job)
        self._moves.emit("job.queued", job.batch.id, job_id, why="retry")

    def _check_retries(self, batch: BatchRecord, thing: str, num_more: int, limit: int) -> None:
        num_open = self._num_open(batch.owner)
        if limit and num_open + num_more > limit:
            raise refusals.no_more_retries(thing, num_open, limit)
