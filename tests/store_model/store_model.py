"""The store as a model: what RedisStore must answer, in plain objects of one process and without its pains.

tests/common/test_store_model.py walks both side by side. It knows the life of jobs: submit, read, steer, claim, finish,
dispatch, take back, forget. Keys, allowances, previews, seats and draining are no part of it: they are a command each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from sigmafarm_common.config import Config
from sigmafarm_common.job_warnings import bounded
from sigmafarm_common.records import Batch, Job, ModelCard, WorkerInfo
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState, Outcome
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import EVENT_ID, new_batch_id, new_token
from sigmafarm_common.store.measures import measured_from
from sigmafarm_common.store.packing import packed
from sigmafarm_common.store.values import (
    LONGEST_BACK_OFF_MS,
    PACE_ENTRIES,
    PACE_S,
    Beat,
    Claim,
    Dispatched,
    DropReason,
    Event,
    Fence,
    Measured,
    Memory,
    Output,
    Pace,
    QueueInfo,
    TakenBack,
    Ticket,
    Try,
)
from tests.store_model.fair_queue import FairQueue
from tests.store_model.keeping import Keeping, in_ms
from tests.store_model.model_records import BatchRecord, JobRecord
from tests.store_model.moves import Moves, position_of
from tests.store_model.uploads import Uploads


class StoreModel(Uploads):
    """What a farm remembers, asked as RedisStore is. See Store for what each method promises."""

    def __init__(self, config: Config, now_ms: Callable[[], int]):
        self._config, self._now_ms = config, now_ms
        self._moves = Moves(config, now_ms)
        self._keeping = Keeping(self._moves)
        #: The leading keeper, and until when it leads.
        self._leader, self._leads_until_ms = "", 0

    def _is_stale(self, batch: BatchRecord) -> bool:
        return self._now_ms() - batch.touched_ms >= in_ms(self._config.submit_stale_s)

    def _num_open(self, owner: str) -> int:
        return sum(b.num_open for b in self._moves.batches.values() if b.is_sealed and b.owner == owner)

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

    # -- submit

    def begin_batch(
        self,
        *,
        name: str,
        owner: str,
        priority: int,
        defaults: Mapping[str, Any],
        idempotency_key: str | None = None,
        reuse: bool = False,
        parent: str = "",
        trace: str = "",
    ) -> Ticket:
        holder = self._moves.batches.get(self._moves.keys.get((owner, idempotency_key or ""), ""))
        if holder and holder.is_sealed:
            return Ticket(holder.id, is_new=False, said=holder.said)
        if holder and not self._is_stale(holder):
            raise refusals.being_submitted(idempotency_key, holder.id, self._config.submit_stale_s)
        if holder:
            self._moves.forget(holder)
        batch_id, now_ms = new_batch_id(), self._now_ms()
        batch = BatchRecord(batch_id, name, owner, priority, dict(defaults), idempotency_key, now_ms, now_ms)
        batch.reuse, batch.parent, batch.trace = reuse, parent, trace
        self._moves.batches[batch_id] = batch
        if idempotency_key:
            self._moves.keys[owner, idempotency_key] = batch_id
        return Ticket(batch_id, is_new=True)

    def add_rows(self, batch_id: str, requests: Sequence[RenderRequest], *, max_open_bytes: int = 0) -> None:
        batch = self._moves.batches.get(batch_id)
        if batch is None or batch.is_sealed:
            raise refusals.takes_no_rows(batch_id)
        open_bytes, more = self._open_bytes(batch.owner), packed(requests)
        new = {name: text for name, text in more.texts.items() if name not in batch.texts}
        size_bytes = sum(row.size_bytes for row in more.rows) + sum(len(text.encode()) for text in new.values())
        if max_open_bytes and open_bytes + size_bytes > max_open_bytes:
            raise refusals.too_many_bytes(batch.owner, open_bytes, max_open_bytes)
        self._use_uploads(batch, requests)
        batch.texts.update(new)
        batch.size_bytes += size_bytes
        for request in requests:
            batch.touched_ms = self._now_ms()
            batch.add(request, batch.touched_ms)

    def seal_batch(
        self, batch_id: str, *, num_rows: int | None = None, max_open_jobs: int = 0, said: str = "", title: str = ""
    ) -> Batch:
        batch = self._moves.batches.get(batch_id)
        if batch is None:
            raise refusals.no_open_batch(batch_id)
        if not batch.is_sealed:
            if num_rows is not None and num_rows != len(batch.jobs):
                raise refusals.rows_lost(batch_id, len(batch.jobs), num_rows)
            self._check_open_jobs(batch, len(batch.jobs), max_open_jobs)
            batch.is_sealed, batch.said, batch.title = True, said, title
            self._moves.link_all(batch)
            self._moves.totals["submitted"] += len(batch.jobs)
            self._moves.emit("batch.submitted", batch_id)
            self._moves.conclude(batch)
        return batch.snapshot()

    def wait_for_disk(self) -> None:
        pass  # it has none

    def _check_open_jobs(self, batch: BatchRecord, num_more: int, limit: int) -> None:
        num_open = self._num_open(batch.owner)
        if limit and num_open + num_more > limit:
            raise refusals.too_many_jobs(batch.owner, num_open, num_more, limit)

    def _open_bytes(self, owner: str) -> int:
        return sum(b.size_bytes for b in self._moves.batches.values() if b.owner == owner and not b.finished_ms)

    def discard_batch(self, batch_id: str) -> None:
        batch = self._moves.batches.get(batch_id)
        if batch and batch.is_sealed:
            raise refusals.already_accepted(batch_id)
        if batch:
            self._moves.forget(batch)

    # -- read

    def batch(self, batch_id: str) -> Batch:
        return self._sealed(batch_id).snapshot()

    def batches(self, *, owner: str | None = None, limit: int = 50, before: str | None = None) -> list[Batch]:
        sealed = (b for b in self._moves.batches.values() if b.is_sealed)
        found = sorted(sealed, key=lambda b: (b.created_ms, b.id), reverse=True)
        ids = [b.id for b in found]
        start = ids.index(before) + 1 if before in ids else 0
        return [b.snapshot() for b in found[start:] if owner is None or b.owner == owner][:limit]

    def job(self, job_id: str) -> Job:
        return self._job(job_id).snapshot()

    def jobs(self, batch_id: str, *, state: JobState | None = None, after_row: int = -1, limit: int = 100) -> list[Job]:
        batch = self._moves.batches.get(batch_id)
        if batch is None or not batch.is_sealed:
            return []
        behind = islice(batch.jobs, max(0, after_row + 1), None)
        return [j.snapshot() for j in islice((j for j in behind if state is None or j.state is state), limit)]

    def workers(self) -> list[WorkerInfo]:
        return self._keeping.living()

    def models(self) -> list[ModelCard]:
        return [self._moves.models[name] for name in sorted(self._moves.models)]

    def queues(self) -> list[QueueInfo]:
        return [self._queue(model, queue) for model, queue in sorted(self._moves.queues.items())]

    def _queue(self, model: str, queue: FairQueue) -> QueueInfo:
        waiting: dict[int, int] = {}
        for turn in queue:
            num = len(self._moves.batches[turn.batch_id].ready[model])
            waiting[turn.priority] = waiting.get(turn.priority, 0) + num
        oldest = min((turn.batch_id for turn in queue), default="")
        calls, leases = self._moves.dispatched.get(model, {}), self._moves.leases.get(model, {})
        work = sum(job.work for job in self._moves.open_jobs() if job.model == model)
        oldest_ms = self._moves.batches[oldest].created_ms if oldest else 0
        return QueueInfo(model, waiting, len(calls), len(leases), work / 1e6, oldest_ms)

    def events(self, *, after: str = "$", limit: int = 100) -> list[Event]:
        if not EVENT_ID.fullmatch(after):
            raise refusals.no_event_id(after)
        start = self._moves.last_event if after == "$" else position_of(after)
        return [event for event in self._moves.events if position_of(event.id) > start][:limit]

    # -- watch

    def last_events(self, *, limit: int = 100) -> list[Event]:
        return list(reversed(self._moves.events))[:limit]

    def failures(self, batch_id: str) -> dict[str, int]:
        batch = self._moves.batches.get(batch_id)
        said = batch.failures if batch and batch.is_sealed else {}
        return {code: said[code] for code in sorted(said) if said[code]}

    def held_jobs(self, worker_id: str) -> list[str]:
        return sorted(self._moves.held.get(worker_id, ()))

    def pace(self) -> list[Pace]:
        since = self._now_ms() // (PACE_S * 1000) - PACE_ENTRIES
        kept = sorted((slot, said) for slot, said in self._moves.finishes.items() if slot > since)
        return [Pace(slot * PACE_S * 1000, pictures, work / 1e6) for slot, (pictures, work) in kept]

    def totals(self) -> dict[str, int]:
        said = self._moves.totals
        return {name: said[name] for name in sorted(said) if said[name]}

    def trace_of(self, batch_id: str) -> str:
        batch = self._moves.batches.get(batch_id)
        return batch.trace if batch else ""

    def measured(self) -> list[Measured]:
        return measured_from(self._moves.numbers)

    def memory(self) -> Memory:
        return Memory()

    def open_jobs(self, owner: str) -> int:
        return self._num_open(owner)

    # -- steer

    def pause_batch(self, batch_id: str) -> Batch:
        batch = self._sealed(batch_id)
        if not batch.is_paused:
            self._moves.unlink_all(batch)
            batch.is_paused = True
            batch.revision += 1
            self._moves.emit("batch.paused", batch_id)
        return batch.snapshot()

    def resume_batch(self, batch_id: str) -> Batch:
        batch = self._sealed(batch_id)
        if batch.is_paused:
            batch.is_paused = False
            self._moves.link_all(batch)
            batch.revision += 1
            self._moves.emit("batch.resumed", batch_id)
        return batch.snapshot()

    def set_priority(self, batch_id: str, priority: int) -> Batch:
        refusals.check_priority(priority)
        batch = self._sealed(batch_id)
        self._moves.unlink_all(batch)
        batch.priority = priority
        self._moves.link_all(batch)
        batch.revision += 1
        self._moves.emit("batch.priority", batch_id, priority=str(priority))
        return batch.snapshot()

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

    def cancel_job(self, job_id: str) -> JobState:
        job = self._job(job_id)
        if not job.state.is_terminal:
            self._moves.cancel(job)
            self._moves.emit("job.cancelled", job.batch.id, job_id)
            self._moves.conclude(job.batch)
        return job.state

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

    def rate_job(self, job_id: str, rating: int) -> None:
        refusals.check_rating(rating)
        job = self._job(job_id)
        if job.state is not JobState.SUCCEEDED:
            raise refusals.cannot_be_rated(job_id, job.state)
        if job.rating != rating:
            job.rating = rating
            job.batch.revision += 1
            self._moves.emit("job.rated", job.batch.id, job_id, rating=str(rating))
            if job.batch.id in self._moves.concluded:
                self._moves.finished[job.batch.id] = self._moves.concluded.pop(job.batch.id)

    # -- worker

    def register_models(self, cards: Iterable[ModelCard]) -> None:
        self._moves.models.update((card.name, card) for card in cards)

    def claim(self, job_id: str, worker_id: str) -> Claim | None:
        job, now_ms = self._moves.find(job_id), self._now_ms()
        if job:
            self._moves.free(worker_id, job)
        if not job or self._moves.dispatched.get(job.model, {}).pop(job_id, None) is None:
            return None
        if job.batch.is_paused or self._moves.is_reserved(worker_id):
            self._moves.make_ready(job)
            return None
        source = self._moves.source_for(job, worker_id)
        if source is None and self._moves.waits_for_twin(job):
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
        self._moves.drawing[job.batch.owner, job.same] = job_id
        self._moves.move(job, JobState.RUNNING)
        self._moves.emit("job.running", job.batch.id, job_id, worker=worker_id)
        return Claim(job_id, job.batch.id, fence, job.request, job.attempts, job.losses, is_alone, source)

    def renew(self, worker: WorkerInfo, beats: Sequence[Beat]) -> dict[Try, DropReason]:
        now_ms, before = self._now_ms(), self._moves.workers.get(worker.id)
        times = {"seen_ms": now_ms, "started_ms": before.started_ms if before else now_ms}
        self._moves.workers[worker.id] = worker.model_copy(update=times)
        for beat in beats:
            self._renew_job(beat)
        return self.drops([Try(beat.job_id, beat.fence) for beat in beats])

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

    def drops(self, tries: Sequence[Try]) -> dict[Try, DropReason]:
        answers = {tried: self._drop_reason(tried) for tried in tries}
        return {tried: reason for tried, reason in answers.items() if reason}

    def _drop_reason(self, tried: Try) -> DropReason | None:
        job = self._moves.find(tried.job_id)
        if job is None or not job.runs_under(tried.fence):
            is_cancelled = job is not None and job.state is JobState.CANCELLED
            return DropReason.CANCELLED if is_cancelled else DropReason.LOST
        return DropReason.PAUSED if job.batch.is_paused else None

    def finish(self, job_id: str, fence: Fence, output: Output) -> bool:
        job = self._moves.find(job_id)
        if job is None or not job.runs_under(fence):
            said = (JobState.SUCCEEDED, *fence, output.image_key)
            is_said_twice = job is not None and (job.state, job.fence, job.token, job.image_key) == said
            self._moves.totals["refused"] += not is_said_twice
            return is_said_twice
        job.image_key, job.sha256, job.size_bytes = output.image_key, output.sha256, output.size_bytes
        job.step, job.upload_ms, job.fingerprint = job.num_steps, output.upload_ms, output.fingerprint
        job.warnings = bounded(output.warnings)
        if output.fingerprint:
            self._moves.pictures[job.batch.owner, job.same, output.fingerprint] = job_id
        job.reused_from = output.reused_from
        self._moves.totals["reused"] += bool(output.reused_from)
        self._moves.forget_running(job)
        self._moves.move(job, JobState.SUCCEEDED)
        told = {"warnings": ",".join(each.code for each in job.warnings)} if job.warnings else {}
        self._moves.emit("job.succeeded", job.batch.id, job_id, **told)
        self._moves.conclude(job.batch)
        if not output.reused_from:
            self._moves.note_pace(job, 1)
            self._moves.observe("wait", job, job.started_ms - job.waits_since_ms)
            self._moves.observe("draw", job, job.finished_ms - job.started_ms - output.upload_ms)
            self._moves.observe("upload", job, output.upload_ms)
        return True

    def fail(self, job_id: str, fence: Fence, *, code: str, message: str, retryable: bool) -> JobState | None:
        job = self._moves.running(job_id, fence)
        if job is None:
            return None
        self._moves.forget_running(job)
        self._moves.remember(job, Outcome.ERROR, message)
        job.attempts += 1
        self._moves.totals["errors"] += 1
        self._moves.numbers[f"error:{code}:{job.model}"] += 1
        if retryable and job.attempts < self._config.max_attempts:
            first_ms = in_ms(self._config.retry_delay_s)
            delay_ms = min(first_ms * 2 ** (job.attempts - 1), max(first_ms, LONGEST_BACK_OFF_MS))
            self._moves.put_back(job, "error", delay_ms)
        else:
            self._moves.give_up(job, code, message)
            self._moves.note_pace(job, 0)
        return job.state

    def release(self, job_id: str, fence: Fence, *, outcome: Outcome = Outcome.RELEASED, why: str = "") -> bool:
        job = self._moves.running(job_id, fence)
        if job:
            self._moves.release(job, outcome, why)
        return job is not None

    def release_worker(self, worker_id: str) -> list[str]:
        held = self._held_jobs(worker_id)
        for job in held:
            self._moves.lose(job, f"worker {worker_id} died")
        self._forget_worker(worker_id)
        return [job.id for job in held]

    def forget_worker(self, worker_id: str) -> None:
        for job in self._held_jobs(worker_id):
            self._moves.release(job, Outcome.RELEASED)
        self._forget_worker(worker_id)

    def _forget_worker(self, worker_id: str) -> None:
        self._moves.workers.pop(worker_id, None)
        self._moves.reserved.pop(worker_id, None)

    def _held_jobs(self, worker_id: str) -> list[JobRecord]:
        return [self._job(job_id) for job_id in sorted(self._moves.held.get(worker_id, ()))]

    # -- keeper

    def lead(self, keeper_id: str, lease_s: float) -> bool:
        now_ms = self._now_ms()
        if self._leader != keeper_id and now_ms < self._leads_until_ms:
            return False
        self._leader, self._leads_until_ms = keeper_id, now_ms + in_ms(lease_s)
        return True

    def resign(self, keeper_id: str) -> None:
        if self._leader == keeper_id:
            self._leads_until_ms = 0

    def dispatch(self, *, limit: int = 1000) -> list[Dispatched]:
        self._moves.bell.clear()
        return self._keeping.dispatch(limit)

    def wait_for_bell(self, timeout_s: float) -> bool:
        rang = self._moves.bell.wait(timeout_s)
        self._moves.bell.clear()
        return rang

    def ring_bell(self) -> None:
        self._moves.bell.set()

    def take_back(self, *, judge_leases: bool = True) -> TakenBack:
        return self._keeping.take_back(judge_leases)

    def stale_batches(self) -> list[str]:
        return sorted(b.id for b in self._moves.batches.values() if not b.is_sealed and self._is_stale(b))

    def finished_batches(self, *, limit: int = 10) -> list[str]:
        return sorted(self._moves.finished, key=lambda b: (self._moves.finished[b], b))[:limit]

    def note_manifest(self, batch_id: str, finished_ms: int, revision: int | None = None) -> None:
        end_ms, batch = self._moves.finished.get(batch_id), self._moves.batches.get(batch_id)
        is_as_told = revision is None or (batch is not None and batch.revision == revision)
        if end_ms is not None and end_ms <= finished_ms and is_as_told:
            self._moves.concluded[batch_id] = self._moves.finished.pop(batch_id)

    def forget_batches(self) -> list[str]:
        return self._keeping.forget_batches() if self._config.retention_s else []
