"""The store in one process's memory: RedisStore's twin, for tests of yours and of our own.

    store = MemoryStore(Config(lease_s=10), now_ms=lambda: clock)

It keeps the whole contract of Store (both run tests/common/store_contract.py, and tests/common/test_store_model.py
walks them side by side): states, fences, leases, fair sharing, idempotency keys, back-offs, events, manifests. Safe for
threads. Nothing outlives the process, and no other process sees it: it is no store to run a farm on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from threading import Condition
from typing import Any, Concatenate, ParamSpec, TypeVar

from sigmafarm_common.config import Config
from sigmafarm_common.job import Batch, Job, ModelCard, RenderRequest, WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import new_batch_id
from sigmafarm_common.store.memory_keeping import Keeping, in_ms
from sigmafarm_common.store.memory_moves import Moves
from sigmafarm_common.store.memory_queue import FairQueue
from sigmafarm_common.store.memory_records import BatchRecord, JobRecord
from sigmafarm_common.store.protocol import (
    LONGEST_BACK_OFF_MS,
    Beat,
    Claim,
    Dispatched,
    DropReason,
    Event,
    Output,
    QueueInfo,
    TakenBack,
    Ticket,
)

P = ParamSpec("P")
R = TypeVar("R")


def locked(
    method: Callable[Concatenate[MemoryStore, P], R],
) -> Callable[Concatenate[MemoryStore, P], R]:
    """Let one thread at a time into the store: what a Lua script is to Redis."""

    @wraps(method)
    def call(self: MemoryStore, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:  # pyright: ignore[reportPrivateUsage]
            return method(self, *args, **kwargs)

    return call


class MemoryStore:
    """The farm's records in memory. See Store for what each method promises."""

    def __init__(self, config: Config, now_ms: Callable[[], int] | None = None):
        self._config = config
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._lock = Condition()
        self._moves = Moves(config, self._now_ms, self._lock)
        self._keeping = Keeping(self._moves)
        #: The leading keeper, and until when it leads.
        self._leader, self._leads_until_ms = "", 0
        self._started_ms = self._now_ms()

    # -- submit

    @locked
    def begin_batch(
        self, *, name: str, owner: str, priority: int, defaults: Mapping[str, Any], idempotency_key: str | None = None
    ) -> Ticket:
        holder = self._moves.batches.get(self._moves.keys.get((owner, idempotency_key or ""), ""))
        if holder and holder.is_sealed:
            return Ticket(holder.id, is_new=False)
        if holder and not self._is_stale(holder):
            raise refusals.being_submitted(idempotency_key, holder.id, self._config.submit_stale_s)
        if holder:
            self._moves.forget(holder)
        batch_id, now_ms = new_batch_id(), self._now_ms()
        batch = BatchRecord(batch_id, name, owner, priority, dict(defaults), idempotency_key, now_ms, now_ms)
        self._moves.batches[batch_id] = batch
        if idempotency_key:
            self._moves.keys[owner, idempotency_key] = batch_id
        return Ticket(batch_id, is_new=True)

    @locked
    def add_rows(self, batch_id: str, requests: Sequence[RenderRequest]) -> None:
        batch = self._moves.batches.get(batch_id)
        if batch is None or batch.is_sealed:
            raise refusals.takes_no_rows(batch_id)
        batch.touched_ms = self._now_ms()
        for request in requests:
            batch.add(request, batch.touched_ms)

    @locked
    def seal_batch(self, batch_id: str) -> Batch:
        batch = self._moves.batches.get(batch_id)
        if batch is None:
            raise refusals.no_open_batch(batch_id)
        if not batch.is_sealed:
            batch.is_sealed = True
            self._moves.link_all(batch)
            self._moves.emit("batch.submitted", batch_id)
            self._moves.conclude(batch)
        return batch.snapshot()

    @locked
    def discard_batch(self, batch_id: str) -> None:
        batch = self._moves.batches.get(batch_id)
        if batch and batch.is_sealed:
            raise refusals.already_accepted(batch_id)
        if batch:
            self._moves.forget(batch)

    def _is_stale(self, batch: BatchRecord) -> bool:
        return self._now_ms() - batch.touched_ms >= in_ms(self._config.submit_stale_s)

    # -- read

    @locked
    def batch(self, batch_id: str) -> Batch:
        return self._sealed(batch_id).snapshot()

    @locked
    def batches(self, *, owner: str | None = None, limit: int = 50, before: str | None = None) -> list[Batch]:
        sealed = (b for b in self._moves.batches.values() if b.is_sealed)
        found = sorted(sealed, key=lambda b: (b.created_ms, b.id), reverse=True)
        ids = [b.id for b in found]
        start = ids.index(before) + 1 if before in ids else 0
        return [b.snapshot() for b in found[start:] if owner is None or b.owner == owner][:limit]

    @locked
    def job(self, job_id: str) -> Job:
        return self._job(job_id).snapshot()

    @locked
    def jobs(self, batch_id: str, *, state: JobState | None = None, after_row: int = -1, limit: int = 100) -> list[Job]:
        batch = self._moves.batches.get(batch_id)
        if batch is None or not batch.is_sealed:
            return []
        behind = batch.jobs[after_row + 1 :]
        return [j.snapshot() for j in behind if state is None or j.state is state][:limit]

    @locked
    def workers(self) -> list[WorkerInfo]:
        return self._keeping.living()

    @locked
    def models(self) -> list[ModelCard]:
        return [self._moves.models[name] for name in sorted(self._moves.models)]

    @locked
    def queues(self) -> list[QueueInfo]:
        return [self._queue(model, queue) for model, queue in sorted(self._moves.queues.items())]

    def _queue(self, model: str, queue: FairQueue) -> QueueInfo:
        waiting: dict[int, int] = {}
        for turn in queue:
            num = len(self._moves.batches[turn.batch_id].ready[model])
            waiting[turn.priority] = waiting.get(turn.priority, 0) + num
        calls, leases = self._moves.dispatched.get(model, {}), self._moves.leases.get(model, {})
        return QueueInfo(model, waiting, len(calls), len(leases))

    @locked
    def events(self, *, after: str = "$", limit: int = 100, block_s: float = 0) -> list[Event]:
        return self._moves.events.read(after, limit, min(block_s, self._config.redis_timeout_s / 2))

    def _sealed(self, batch_id: str) -> BatchRecord:
        batch = self._moves.batches.get(batch_id)
        if batch is None or not batch.is_sealed:
            raise refusals.no_batch(batch_id)
        return batch

    def _job(self, job_id: str) -> JobRecord:
        job = self._moves.find(job_id)
        if job is None:
            raise refusals.no_job(job_id)
        return job

    # -- steer

    @locked
    def pause_batch(self, batch_id: str) -> Batch:
        batch = self._sealed(batch_id)
        if not batch.is_paused:
            self._moves.unlink_all(batch)
            batch.is_paused = True
            self._moves.emit("batch.paused", batch_id)
        return batch.snapshot()

    @locked
    def resume_batch(self, batch_id: str) -> Batch:
        batch = self._sealed(batch_id)
        if batch.is_paused:
            batch.is_paused = False
            self._moves.link_all(batch)
            self._moves.emit("batch.resumed", batch_id)
        return batch.snapshot()

    @locked
    def set_priority(self, batch_id: str, priority: int) -> Batch:
        batch = self._sealed(batch_id)
        self._moves.unlink_all(batch)
        batch.priority = priority
        self._moves.link_all(batch)
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
    def retry_batch(self, batch_id: str, *, states: Iterable[JobState] = (JobState.FAILED,)) -> int:
        batch = self._sealed(batch_id)
        return sum(self._retry_state(batch, state) for state in states)

    def _retry_state(self, batch: BatchRecord, state: JobState) -> int:
        jobs = [j for j in batch.jobs if j.state is state]
        for job in jobs:
            self._moves.retry(job)
        if jobs:
            self._moves.emit("batch.retried", batch.id, count=str(len(jobs)))
        return len(jobs)

    @locked
    def retry_job(self, job_id: str) -> None:
        job = self._job(job_id)
        if job.state not in (JobState.FAILED, JobState.CANCELLED):
            raise refusals.cannot_be_retried(job_id, job.state)
        self._moves.retry(job)
        self._moves.emit("job.queued", job.batch.id, job_id, why="retry")

    # -- worker

    @locked
    def register_models(self, cards: Iterable[ModelCard]) -> None:
        self._moves.models.update((card.name, card) for card in cards)

    @locked
    def claim(self, job_id: str, worker_id: str) -> Claim | None:
        job, now_ms = self._moves.find(job_id), self._now_ms()
        if job:
            self._moves.free(worker_id, job)
        if not job or self._moves.dispatched.get(job.model, {}).pop(job_id, None) is None:
            return None
        if job.batch.is_paused or self._moves.is_reserved(worker_id):
            self._moves.make_ready(job)
            return None
        is_alone, num_held = self._moves.runs_alone(job), len(self._moves.held.get(worker_id, ()))
        if is_alone and num_held:
            self._moves.dispatched[job.model][job_id] = now_ms
            self._moves.reserved[worker_id] = (job_id, now_ms + in_ms(self._config.lease_s))
            raise refusals.not_alone(job_id, worker_id, num_held)
        job.fence, job.worker, job.started_ms, job.step = job.fence + 1, worker_id, now_ms, 0
        self._moves.leases.setdefault(job.model, {})[job_id] = now_ms + in_ms(self._config.lease_s)
        self._moves.held.setdefault(worker_id, set()).add(job_id)
        self._moves.move(job, JobState.RUNNING)
        self._moves.emit("job.running", job.batch.id, job_id, worker=worker_id)
        return Claim(job_id, job.batch.id, job.fence, job.request, job.attempts, job.losses, is_alone)

    @locked
    def renew(self, worker: WorkerInfo, beats: Sequence[Beat]) -> dict[str, DropReason]:
        now_ms, before = self._now_ms(), self._moves.workers.get(worker.id)
        times = {"seen_ms": now_ms, "started_ms": before.started_ms if before else now_ms}
        self._moves.workers[worker.id] = worker.model_copy(update=times)
        answers = {beat.job_id: self._renew_job(beat) for beat in beats}
        return {job_id: reason for job_id, reason in answers.items() if reason}

    def _renew_job(self, beat: Beat) -> DropReason | None:
        job = self._moves.find(beat.job_id)
        if job is None or not job.runs_under(beat.fence):
            is_cancelled = job is not None and job.state is JobState.CANCELLED
            return DropReason.CANCELLED if is_cancelled else DropReason.LOST
        job.step = beat.step
        if beat.has_moved:
            self._moves.leases[job.model][job.id] = self._now_ms() + in_ms(self._config.lease_s)
        return DropReason.PAUSED if job.batch.is_paused else None

    @locked
    def finish(self, job_id: str, fence: int, output: Output) -> bool:
        job = self._moves.find(job_id)
        if job is None or not job.runs_under(fence):
            said = (JobState.SUCCEEDED, fence, output.image_key)
            return job is not None and (job.state, job.fence, job.image_key) == said
        job.image_key, job.sha256, job.size_bytes = output.image_key, output.sha256, output.size_bytes
        job.step = job.num_steps
        self._moves.forget_running(job)
        self._moves.move(job, JobState.SUCCEEDED)
        self._moves.emit("job.succeeded", job.batch.id, job_id)
        self._moves.conclude(job.batch)
        return True

    @locked
    def fail(self, job_id: str, fence: int, *, code: str, message: str, retryable: bool) -> JobState | None:
        job = self._moves.running(job_id, fence)
        if job is None:
            return None
        self._moves.forget_running(job)
        self._moves.remember(job, "error", message)
        job.attempts += 1
        if retryable and job.attempts < self._config.max_attempts:
            first_ms = in_ms(self._config.retry_delay_s)
            delay_ms = min(first_ms * 2 ** (job.attempts - 1), max(first_ms, LONGEST_BACK_OFF_MS))
            self._moves.put_back(job, "error", delay_ms)
        else:
            self._moves.give_up(job, code, message)
        return job.state

    @locked
    def release(self, job_id: str, fence: int, *, outcome: str = "released") -> bool:
        job = self._moves.running(job_id, fence)
        if job:
            self._moves.release(job, outcome)
        return job is not None

    @locked
    def release_worker(self, worker_id: str) -> list[str]:
        held = self._held_jobs(worker_id)
        for job in held:
            self._moves.lose(job, f"worker {worker_id} died")
        self._forget_worker(worker_id)
        return [job.id for job in held]

    @locked
    def forget_worker(self, worker_id: str) -> None:
        for job in self._held_jobs(worker_id):
            self._moves.release(job, "released")
        self._forget_worker(worker_id)

    def _forget_worker(self, worker_id: str) -> None:
        self._moves.workers.pop(worker_id, None)
        self._moves.reserved.pop(worker_id, None)

    def _held_jobs(self, worker_id: str) -> list[JobRecord]:
        return [self._job(job_id) for job_id in sorted(self._moves.held.get(worker_id, ()))]

    # -- keeper

    @locked
    def lead(self, keeper_id: str, lease_s: float) -> bool:
        now_ms = self._now_ms()
        if self._leader != keeper_id and now_ms < self._leads_until_ms:
            return False
        self._leader, self._leads_until_ms = keeper_id, now_ms + in_ms(lease_s)
        return True

    @locked
    def resign(self, keeper_id: str) -> None:
        if self._leader == keeper_id:
            self._leads_until_ms = 0

    @locked
    def dispatch(self, *, limit: int = 1000) -> list[Dispatched]:
        return self._keeping.dispatch(limit)

    @locked
    def server_uptime_s(self) -> float:
        return (self._now_ms() - self._started_ms) / 1000

    @locked
    def take_back(self, *, judge_leases: bool = True) -> TakenBack:
        taken = self._keeping.take_back(judge_leases)
        for batch in [b for b in self._moves.batches.values() if not b.is_sealed and self._is_stale(b)]:
            self._moves.forget(batch)
        return taken

    @locked
    def finished_batches(self, *, limit: int = 10) -> list[str]:
        return sorted(self._moves.finished, key=lambda b: (self._moves.finished[b], b))[:limit]

    @locked
    def manifest_written(self, batch_id: str, finished_ms: int) -> None:
        end_ms = self._moves.finished.get(batch_id)
        if end_ms is not None and end_ms <= finished_ms:
            self._moves.concluded[batch_id] = self._moves.finished.pop(batch_id)

    @locked
    def forget_batches(self) -> list[str]:
        return self._keeping.forget_batches() if self._config.retention_s else []
