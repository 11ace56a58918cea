"""What the model remembers, and every move that a job can make: what store/lua/_prelude.lua is to the scripts.

No method checks who asks; StoreModel does.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable

from sigmafarm_common.config import Config
from sigmafarm_common.records import Attempt, ModelCard, Upload, WorkerInfo
from sigmafarm_common.states import JobState, Outcome
from sigmafarm_common.store.ids import split_job_id
from sigmafarm_common.store.measures import bucket_of
from sigmafarm_common.store.values import HISTORY_LIMIT, PACE_ENTRIES, PACE_S, Event, Fence, Source, losses_to_be_alone
from tests.store_model.fair_queue import FairQueue, Turn
from tests.store_model.model_records import BatchRecord, JobRecord

#: When, in ms, and which of that millisecond: what an event's id says.
Position = tuple[int, int]


class Moves:
    """Everything that a farm remembers, and how a job goes from one state to the next."""

    def __init__(self, config: Config, now_ms: Callable[[], int]):
        self.config = config
        self.now_ms = now_ms
        #: The newest events in order, and the place of the last one.
        self.events: deque[Event] = deque(maxlen=config.event_limit)
        self.last_event: Position = (0, 0)
        self.batches: dict[str, BatchRecord] = {}
        #: The batch that has an owner's idempotency key.
        self.keys: dict[tuple[str, str], str] = {}
        self.models: dict[str, ModelCard] = {}
        #: Uploads by owner and SHA-256, since when those are unused that are, and objects to be removed.
        self.uploads: dict[tuple[str, str], Upload] = {}
        self.unused: dict[tuple[str, str], int] = {}
        self.deletions: set[str] = set()
        self.workers: dict[str, WorkerInfo] = {}
        #: Jobs in the hands of each worker.
        self.held: dict[str, set[str]] = {}
        #: The job that a worker empties itself for, and until when it does.
        self.reserved: dict[str, tuple[str, int]] = {}
        self.queues: dict[str, FairQueue] = {}
        #: Jobs with a wake-up call on its way, by model, and when it was sent.
        self.dispatched: dict[str, dict[str, int]] = {}
        #: When the lease of each running job ends, by model.
        self.leases: dict[str, dict[str, int]] = {}
        #: When the back-off of each job ends.
        self.delayed: dict[str, int] = {}
        #: The newest running job of those that are equal, by owner and what they have alike; those that wait for it.
        self.drawing: dict[tuple[str, str], str] = {}
        self.twins: dict[str, set[str]] = {}
        #: The newest picture of equal jobs, by owner, what they have alike and weights.
        self.pictures: dict[tuple[str, str, str], str] = {}
        #: What the farm counts for good, and what it finished by number of ten seconds: pictures and their work.
        self.totals: Counter[str] = Counter()
        self.finishes: dict[int, tuple[int, int]] = {}
        #: Set when something may be dispatched that could not before.
        self.bell = threading.Event()
        #: Which size a model's newest jobs had, in pixels, and how many more of it may go before others.
        self.runs: dict[str, tuple[int, int]] = {}
        #: What is counted and timed of jobs, as what:which:model.
        self.numbers: Counter[str] = Counter()
        #: Batches whose manifest is due, and the end that it is to tell of.
        self.finished: dict[str, int] = {}
        #: Batches whose manifest is written, and their end.
        self.concluded: dict[str, int] = {}

    def emit(self, kind: str, batch_id: str, job_id: str = "", **data: str) -> None:
        now_ms, (last_ms, number) = self.now_ms(), self.last_event
        self.last_event = (now_ms, 0) if now_ms > last_ms else (last_ms, number + 1)
        self.events.append(Event("{}-{}".format(*self.last_event), kind, batch_id, job_id, data))

    def find(self, job_id: str) -> JobRecord | None:
        """Return a job of a sealed batch."""
        place = split_job_id(job_id)
        batch = self.batches.get(place[0]) if place else None
        if not place or not batch or not batch.is_sealed or place[1] >= len(batch.jobs):
            return None
        return batch.jobs[place[1]]

    def known(self, job_id: str) -> JobRecord:
        """Return a job that must exist."""
        job = self.find(job_id)
        assert job is not None, job_id
        return job

    def running(self, job_id: str, fence: Fence) -> JobRecord | None:
        """Return the job that runs under this fence: everything that a worker says of a job passes through here."""
        job = self.find(job_id)
        return job if job and job.runs_under(fence) else None

    def forget(self, batch: BatchRecord) -> None:
        """Remove a batch that no job of is open."""
        del self.batches[batch.id]
        self.pictures = {name: job for name, job in self.pictures.items() if job.partition("-")[0] != batch.id}
        for sha256 in batch.uploads:
            if (batch.owner, sha256) in self.uploads and not self.users_of(batch.owner, sha256):
                self.unused[batch.owner, sha256] = self.now_ms()
        self.concluded.pop(batch.id, None)
        holder = (batch.owner, batch.idempotency_key or "")
        if self.keys.get(holder) == batch.id:
            del self.keys[holder]

    def users_of(self, owner: str, sha256: str) -> list[str]:
        """Return the batches that use an upload."""
        return [b.id for b in self.batches.values() if b.owner == owner and sha256 in b.uploads]

    # -- alone

    def runs_alone(self, job: JobRecord) -> bool:
        """Whether a job was there at so many deaths that it runs alone."""
        return job.losses >= losses_to_be_alone(self.config.max_losses)

    def is_reserved(self, worker_id: str) -> bool:
        """Whether a worker takes no other job now: it draws one that runs alone, or empties itself for one."""
        _, until_ms = self.reserved.get(worker_id, ("", 0))
        held = self.held.get(worker_id, set())
        return until_ms > self.now_ms() or (len(held) == 1 and self.runs_alone(self.known(next(iter(held)))))

    def free(self, worker_id: str, job: JobRecord) -> None:
        """End a worker's wait for a job."""
        if self.reserved.get(worker_id, ("", 0))[0] == job.id:
            del self.reserved[worker_id]

    # -- reuse

    def source_for(self, job: JobRecord, worker_id: str) -> Source | None:
        """Return the equal job whose picture a job may take from a worker that serves the same weights."""
        worker = self.workers.get(worker_id)
        weights = worker.fingerprints.get(job.model, "") if worker else ""
        other = self.find(self.pictures.get((job.batch.owner, job.same, weights), "")) if job.batch.reuse else None
        if other is None or other.id == job.id:
            return None
        return Source(other.id, other.image_key, other.sha256, other.size_bytes, other.fingerprint, other.warnings)

    def waits_for_twin(self, job: JobRecord) -> bool:
        """Whether a job of a batch that reuses waits from now on, since an equal one is drawn."""
        other = self.find(self.drawing.get((job.batch.owner, job.same), "")) if job.batch.reuse else None
        if other is None or other.state is not JobState.RUNNING or other.id == job.id:
            return False
        self.delayed[job.id] = self.now_ms() + round(1000 * self.config.lease_s)
        self.twins.setdefault(other.id, set()).add(job.id)
        return True

    # -- waiting

    def link(self, batch: BatchRecord, model: str) -> None:
        """Give a batch its place in a model's queue, if it may be dispatched and has something to."""
        if batch.is_sealed and not batch.is_paused and batch.ready.get(model):
            self.bell.set()
            self.queues.setdefault(model, FairQueue()).join(_turn(batch))

    def link_all(self, batch: BatchRecord) -> None:
        for model in batch.ready:
            self.link(batch, model)

    def unlink(self, batch: BatchRecord, model: str) -> None:
        if model in self.queues:
            self.queues[model].leave(_turn(batch), self.now_ms())
            self.forget_run(model)

    def forget_run(self, model: str) -> None:
        """A queue that is empty begins anew."""
        if self.queues[model].next() is None:
            self.runs.pop(model, None)

    def unlink_all(self, batch: BatchRecord) -> None:
        for model in batch.ready:
            self.unlink(batch, model)

    def make_ready(self, job: JobRecord) -> None:
        """Let a queued job wait for dispatch (again), at the place of its row."""
        job.batch.add_ready(job)
        self.link(job.batch, job.model)

    def forget_waiting(self, job: JobRecord) -> None:
        """Let a queued job wait for nothing any more."""
        self.dispatched.get(job.model, {}).pop(job.id, None)
        self.delayed.pop(job.id, None)
        if job.batch.remove_ready(job) and not job.batch.ready[job.model]:
            self.unlink(job.batch, job.model)

    def forget_running(self, job: JobRecord) -> None:
        """Take a job from its worker: no lease, and in nobody's hands."""
        self.leases.get(job.model, {}).pop(job.id, None)
        self.held.get(job.worker, set()).discard(job.id)
        if job.model in self.queues and self.queues[job.model].next():
            self.bell.set()
        if self.drawing.get((job.batch.owner, job.same)) == job.id:
            del self.drawing[job.batch.owner, job.same]
        for twin in self.twins.pop(job.id, set()) & set(self.delayed):
            self.delayed[twin] = 0

    # -- moves

    def move(self, job: JobRecord, target: JobState) -> None:
        """Change a job's state and the counts of its batch. The one place that does."""
        batch, now_ms = job.batch, self.now_ms()
        batch.counts[job.state] -= 1
        batch.counts[target] += 1
        batch.revision += 1
        job.state = target
        if target is JobState.QUEUED:
            batch.finished_ms = 0
            self.finished.pop(batch.id, None)
            self.concluded.pop(batch.id, None)
        elif target.is_terminal:
            job.finished_ms = now_ms
            self.numbers[f"state:{target}:{job.model}"] += 1
        if target is not JobState.QUEUED:
            self.totals["claimed" if target is JobState.RUNNING else target.value] += 1

    def note_pace(self, job: JobRecord, num_pictures: int) -> None:
        """Count what a worker took from the queue for good."""
        slot = self.now_ms() // (PACE_S * 1000)
        pictures, work = self.finishes.get(slot, (0, 0))
        self.finishes[slot] = (pictures + num_pictures, work + job.work)
        for old in [n for n in self.finishes if n <= slot - PACE_ENTRIES]:
            del self.finishes[old]

    def observe(self, what: str, job: JobRecord, ms: int) -> None:
        """Count a duration of a job in its model's histogram."""
        self.numbers[f"{what}:{bucket_of(what, ms)}:{job.model}"] += 1
        self.numbers[f"{what}:ms:{job.model}"] += max(0, ms)

    def open_jobs(self) -> list[JobRecord]:
        """Return the queued and running jobs of sealed batches."""
        sealed = (b for b in self.batches.values() if b.is_sealed)
        return [j for b in sealed for j in b.jobs if not j.state.is_terminal]

    def conclude(self, batch: BatchRecord) -> None:
        """End a batch that has no open job left. Comes after the event of the job that was moved."""
        if not batch.is_done:
            return
        batch.finished_ms = self.finished[batch.id] = self.now_ms()
        self.emit("batch.finished", batch.id)

    def remember(self, job: JobRecord, outcome: Outcome, error: str = "") -> None:
        """Note in a job's history, which keeps the newest, a try that did not end in a picture."""
        job.history.append(
            Attempt(
                fence=job.fence,
                worker=job.worker,
                outcome=outcome,
                error=error,
                started_ms=job.started_ms,
                ended_ms=self.now_ms(),
            )
        )
        del job.history[:-HISTORY_LIMIT]

    def give_up(self, job: JobRecord, code: str, error: str) -> None:
        """running -> failed"""
        job.error_code, job.error = code, error
        job.batch.failures[code] += 1
        self.numbers[f"failure:{code}:{job.model}"] += 1
        self.observe("wait", job, job.started_ms - job.waits_since_ms)
        self.move(job, JobState.FAILED)
        self.emit("job.failed", job.batch.id, job.id, code=code)
        self.conclude(job.batch)

    def put_back(self, job: JobRecord, why: str, delay_ms: int = 0) -> None:
        """running -> queued, to be dispatched now or after a delay"""
        job.step = 0
        self.move(job, JobState.QUEUED)
        if delay_ms > 0:
            self.delayed[job.id] = self.now_ms() + delay_ms
        else:
            self.make_ready(job)
        self.emit("job.queued", job.batch.id, job.id, why=why)

    def release(self, job: JobRecord, outcome: Outcome, why: str = "") -> None:
        """running -> queued, no try counted"""
        self.forget_running(job)
        self.remember(job, outcome, why)
        self.totals["released"] += 1
        self.put_back(job, outcome)

    def let_lapse(self, job: JobRecord) -> None:
        """running -> queued: its worker lives and no longer speaks of it. No death."""
        self.forget_running(job)
        self.remember(job, Outcome.LOST, f"worker {job.worker} lives and does not have it")
        self.totals["lost"] += 1
        self.put_back(job, "lost")

    def lose(self, job: JobRecord, why: str) -> None:
        """running -> queued or failed: the process that held it has died or gone silent."""
        self.forget_running(job)
        self.remember(job, Outcome.LOST, why)
        self.totals["lost"] += 1
        job.losses += 1
        if job.losses >= self.config.max_losses:
            self.give_up(job, "lost", f"{job.losses} workers died with it; last: {why}")
        else:
            self.put_back(job, "lost")

    def cancel(self, job: JobRecord) -> None:
        """queued or running -> cancelled"""
        if job.state is JobState.RUNNING:
            self.forget_running(job)
            self.remember(job, Outcome.CANCELLED)
        else:
            self.forget_waiting(job)
        self.move(job, JobState.CANCELLED)

    def retry(self, job: JobRecord) -> None:
        """failed or cancelled -> queued, with the tries counted anew and the history kept"""
        if job.state is JobState.FAILED:
            job.batch.failures[job.error_code] -= 1
        self.totals["retried"] += 1
        job.error_code = job.error = ""
        job.finished_ms = job.attempts = job.losses = job.step = 0
        job.waits_since_ms = self.now_ms()
        self.move(job, JobState.QUEUED)
        self.make_ready(job)


def _turn(batch: BatchRecord) -> Turn:
    return Turn(batch.priority, batch.owner, batch.id)


def position_of(event_id: str) -> Position:
    """Return what an event's id says."""
    ms, _, number = event_id.partition("-")
    return int(ms), int(number or 0)
