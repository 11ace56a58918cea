"""What is asked of the memory store: batches, jobs, workers, models, queues, events."""

from __future__ import annotations

from sigmafarm_common.records import Batch, Job, ModelCard, WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Event, QueueInfo
from tests.store_model.memory_part import MemoryPart, locked
from tests.store_model.memory_queue import FairQueue


class MemoryReading(MemoryPart):
    """Reads; changes nothing."""

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
        drained = self._moves.draining
        living = self._keeping.living()
        return [w.model_copy(update={"is_draining": True}) if w.id in drained else w for w in living]

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
        oldest = min((turn.batch_id for turn in queue), default="")
        calls, leases = self._moves.dispatched.get(model, {}), self._moves.leases.get(model, {})
        work = sum(job.work for job in self._moves.open_jobs() if job.model == model)
        oldest_ms = self._moves.batches[oldest].created_ms if oldest else 0
        return QueueInfo(model, waiting, len(calls), len(leases), work / 1e6, oldest_ms)

    @locked
    def events(self, *, after: str = "$", limit: int = 100, block_s: float = 0) -> list[Event]:
        return self._moves.events.read(after, limit, min(block_s, self._config.redis_timeout_s / 2))
