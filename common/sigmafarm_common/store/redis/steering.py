"""How people steer: pause, resume, priority, cancel, retry; drain a worker."""

from __future__ import annotations

from collections.abc import Iterable

from sigmafarm_common.records import Batch
from sigmafarm_common.states import JobState
from sigmafarm_common.store import refusals
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import JOBS_PER_CALL, Keyspace
from sigmafarm_common.store.redis.reading import Reading
from sigmafarm_common.store.redis.scripts import QUOTA


class Steering:
    """Steers batches, jobs and workers."""

    def __init__(self, redis: Keyspace, reading: Reading):
        self._redis, self._reading = redis, reading

    @guarded
    def pause_batch(self, batch_id: str) -> Batch:
        return self._steer("pause_batch", batch_id, 1)

    @guarded
    def resume_batch(self, batch_id: str) -> Batch:
        return self._steer("pause_batch", batch_id, 0)

    @guarded
    def set_priority(self, batch_id: str, priority: int) -> Batch:
        refusals.check_priority(priority)
        return self._steer("set_priority", batch_id, priority)

    def _steer(self, script: str, batch_id: str, value: int) -> Batch:
        self._redis.run(script, batch_id, value)
        return self._reading.batch(batch_id)

    @guarded
    def cancel_batch(self, batch_id: str) -> int:
        cancelled, left = 0, 1
        while left:
            done, left = self._redis.run("cancel_batch", batch_id, JOBS_PER_CALL)
            if done < 0:
                raise refusals.no_batch(batch_id)
            if not done:
                break
            cancelled += done
        return cancelled

    @guarded
    def cancel_job(self, job_id: str) -> JobState:
        state = self._redis.run("cancel_job", job_id)
        return JobState(state) if state else self._reading.job(job_id).state

    @guarded
    def retry_batch(
        self, batch_id: str, *, states: Iterable[JobState] = (JobState.FAILED,), max_open_jobs: int = 0
    ) -> int:
        return sum(self._retry_state(batch_id, state, max_open_jobs) for state in states)

    def _retry_state(self, batch_id: str, state: JobState, max_open_jobs: int) -> int:
        total, row, seen = 0, -1, 1
        while seen:
            done, row, *rest = self._redis.run("retry_batch", batch_id, state, row, JOBS_PER_CALL, max_open_jobs)
            if done == QUOTA:
                raise refusals.no_more_retries(batch_id, row, max_open_jobs)
            if done == -2:
                raise refusals.being_cancelled(batch_id)
            if done < 0:
                raise refusals.no_batch(batch_id)
            total, seen = total + done, rest[0]
        return total

    @guarded
    def retry_job(self, job_id: str, *, max_open_jobs: int = 0) -> None:
        answer, *about = self._redis.run("retry_job", job_id, max_open_jobs)
        if answer == QUOTA:
            raise refusals.no_more_retries(job_id, int(about[0]), max_open_jobs)
        if answer < 0:
            raise refusals.cannot_be_retried(job_id, self._reading.job(job_id).state)
        if answer == 0:
            raise refusals.cannot_be_retried(job_id, about[0])

    @guarded
    def rate_job(self, job_id: str, rating: int) -> None:
        refusals.check_rating(rating)
        answer, *about = self._redis.run("rate_job", job_id, rating)
        if answer == 0:
            raise refusals.no_job(job_id)
        if answer < 0:
            raise refusals.cannot_be_rated(job_id, about[0])

    @guarded
    def drain_worker(self, worker_id: str, *, is_draining: bool = True) -> None:
        if not self._redis.run("drain_worker", worker_id, int(is_draining)):
            raise refusals.no_worker(worker_id)
