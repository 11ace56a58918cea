"""What a worker asks of the memory store: claim, renew, finish, fail, hand back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sigmafarm_common.records import ModelCard, WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import new_token
from sigmafarm_common.store.protocol import LONGEST_BACK_OFF_MS, Beat, Claim, DropReason, Fence, Output, Try
from tests.store_model.memory_keeping import in_ms
from tests.store_model.memory_part import MemoryPart, locked
from tests.store_model.memory_records import JobRecord


class MemoryWorking(MemoryPart):
    """A worker's part."""

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
        if job.batch.is_paused or self._moves.is_reserved(worker_id) or worker_id in self._moves.draining:
            self._moves.make_ready(job)
            return None
        is_alone, num_held = self._moves.runs_alone(job), len(self._moves.held.get(worker_id, ()))
        if is_alone and num_held:
            self._moves.dispatched[job.model][job_id] = now_ms
            self._moves.reserved[worker_id] = (job_id, now_ms + in_ms(self._config.lease_s))
            raise refusals.not_alone(job_id, worker_id, num_held)
        fence = Fence(job.fence + 1, new_token())
        job.fence, job.token = fence
        job.worker, job.started_ms, job.step = worker_id, now_ms, 0
        self._moves.leases.setdefault(job.model, {})[job_id] = now_ms + in_ms(self._config.lease_s)
        self._moves.held.setdefault(worker_id, set()).add(job_id)
        self._moves.move(job, JobState.RUNNING)
        self._moves.emit("job.running", job.batch.id, job_id, worker=worker_id)
        return Claim(job_id, job.batch.id, fence, job.request, job.attempts, job.losses, is_alone)

    @locked
    def renew(self, worker: WorkerInfo, beats: Sequence[Beat]) -> dict[Try, DropReason]:
        now_ms, before = self._now_ms(), self._moves.workers.get(worker.id)
        times = {"seen_ms": now_ms, "started_ms": before.started_ms if before else now_ms}
        self._moves.workers[worker.id] = worker.model_copy(update=times)
        for beat in beats:
            self._renew_job(beat)
        return self._drops([Try(beat.job_id, beat.fence) for beat in beats])

    def _renew_job(self, beat: Beat) -> None:
        job = self._moves.running(beat.job_id, beat.fence)
        if job is None:
            return
        job.batch.revision += job.step != beat.step
        job.step = beat.step
        if beat.has_moved:
            self._moves.leases[job.model][job.id] = self._now_ms() + in_ms(self._config.lease_s)
        else:
            job.still_ms = self._now_ms()

    @locked
    def drops(self, tries: Sequence[Try]) -> dict[Try, DropReason]:
        return self._drops(tries)

    def _drops(self, tries: Sequence[Try]) -> dict[Try, DropReason]:
        answers = {tried: self._drop_reason(tried) for tried in tries}
        return {tried: reason for tried, reason in answers.items() if reason}

    def _drop_reason(self, tried: Try) -> DropReason | None:
        job = self._moves.find(tried.job_id)
        if job is None or not job.runs_under(tried.fence):
            is_cancelled = job is not None and job.state is JobState.CANCELLED
            return DropReason.CANCELLED if is_cancelled else DropReason.LOST
        return DropReason.PAUSED if job.batch.is_paused else None

    @locked
    def finish(self, job_id: str, fence: Fence, output: Output) -> bool:
        job = self._moves.find(job_id)
        if job is None or not job.runs_under(fence):
            said = (JobState.SUCCEEDED, *fence, output.image_key)
            is_said_twice = job is not None and (job.state, job.fence, job.token, job.image_key) == said
            self._moves.totals["refused"] += not is_said_twice
            return is_said_twice
        job.image_key, job.sha256, job.size_bytes = output.image_key, output.sha256, output.size_bytes
        job.step, job.upload_ms, job.fingerprint = job.num_steps, output.upload_ms, output.fingerprint
        self._moves.forget_running(job)
        self._moves.move(job, JobState.SUCCEEDED)
        self._moves.emit("job.succeeded", job.batch.id, job_id)
        self._moves.conclude(job.batch)
        self._moves.note_pace(job)
        return True

    @locked
    def fail(self, job_id: str, fence: Fence, *, code: str, message: str, retryable: bool) -> JobState | None:
        job = self._moves.running(job_id, fence)
        if job is None:
            return None
        self._moves.forget_running(job)
        self._moves.remember(job, "error", message)
        job.attempts += 1
        self._moves.totals["errors"] += 1
        if retryable and job.attempts < self._config.max_attempts:
            first_ms = in_ms(self._config.retry_delay_s)
            delay_ms = min(first_ms * 2 ** (job.attempts - 1), max(first_ms, LONGEST_BACK_OFF_MS))
            self._moves.put_back(job, "error", delay_ms)
        else:
            self._moves.give_up(job, code, message)
        return job.state

    @locked
    def release(self, job_id: str, fence: Fence, *, outcome: str = "released", why: str = "") -> bool:
        job = self._moves.running(job_id, fence)
        if job:
            self._moves.release(job, outcome, why)
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
        self._moves.draining.discard(worker_id)

    def _held_jobs(self, worker_id: str) -> list[JobRecord]:
        return [self._job(job_id) for job_id in sorted(self._moves.held.get(worker_id, ()))]
