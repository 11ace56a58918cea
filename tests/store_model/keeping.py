"""What the keeper asks of the model: dispatch.lua and take_back.lua, on Moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store.redis.keyspace import JOBS_PER_CALL
from sigmafarm_common.store.values import (
    BATCHES_PER_PIECE,
    FORGOTTEN_PER_CALL,
    LAST_ROUNDS,
    SIZE_WINDOW,
    WORKER_MEMORY_MS,
    Dispatched,
    TakenBack,
)
from tests.store_model.fair_queue import FairQueue
from tests.store_model.model_records import BatchRecord, JobRecord
from tests.store_model.moves import Moves


@dataclass
class Window:
    """The first rows of a batch that may go in another order than theirs."""

    rows: list[int]
    #: Whether the longest go first.
    is_last: bool


class Keeping:
    """Dispatch and take-back."""

    def __init__(self, moves: Moves):
        self._moves = moves
        self._config = moves.config

    def living(self) -> list[WorkerInfo]:
        """Return the workers seen within two leases, by id."""
        since_ms = self._moves.now_ms() - in_ms(2 * self._config.lease_s)
        return sorted((w for w in self._moves.workers.values() if w.seen_ms >= since_ms), key=lambda w: w.id)

    # -- dispatch

    def dispatch(self, limit: int) -> list[Dispatched]:
        """Choose jobs for the room that living workers have."""
        room = self._room()
        chosen: list[Dispatched] = []
        windows: dict[tuple[str, str], Window] = {}
        for model, queue in self._moves.queues.items():
            free = room.get(model, 0) - len(self._moves.dispatched.get(model, {}))
            while free > 0 and len(chosen) < limit and (job := self._take(model, queue, windows)):
                chosen.append(Dispatched(job.id, model))
                free = 0 if self._moves.runs_alone(job) else free - 1
                if len(chosen) % JOBS_PER_CALL == 0:
                    windows.clear()
        return chosen

    def _room(self) -> dict[str, int]:
        """Return how many more jobs of each model the living workers can hold."""
        room: dict[str, int] = {}
        for worker in self.living():
            free = worker.slots + worker.lookahead - len(self._moves.held.get(worker.id, ()))
            if worker.is_draining or worker.failing or self._moves.is_reserved(worker.id):
                free = 0
            for model in worker.models:
                room[model] = room.get(model, 0) + max(free, 0)
        return room

    def _take(self, model: str, queue: FairQueue, windows: dict[tuple[str, str], Window]) -> JobRecord | None:
        """Take the next job of a model off the queue."""
        turn = queue.next()
        if turn is None:
            return None
        batch = self._moves.batches[turn.batch_id]
        job = batch.jobs[self._next_row(model, batch, windows)]
        batch.ready[model].remove(job.row)
        self._go_on(model, job.num_pixels)
        queue.pay(turn, job.request.cost)
        self._moves.dispatched.setdefault(model, {})[job.id] = self._moves.now_ms()
        if not batch.ready[model]:
            queue.leave(turn, self._moves.now_ms())
            self._moves.forget_run(model)
        return job

    def _next_row(self, model: str, batch: BatchRecord, windows: dict[tuple[str, str], Window]) -> int:
        """Return the row of a batch that goes next: in one of several sizes, of the size that was chosen last; of the
        last rows, the longest."""
        name = (batch.id, model)
        if name not in windows:
            is_last = len(batch.costs) > 1 and len(batch.ready[model]) <= LAST_ROUNDS * self._num_slots(model)
            rows = batch.ready[model][:SIZE_WINDOW] if batch.is_mixed or is_last else []
            windows[name] = Window(rows, is_last)
        window, (num_pixels, left) = windows[name], self._moves.runs.get(model, (0, 0))
        if not window.rows:
            return batch.ready[model][0]
        alike = [row for row in window.rows if batch.jobs[row].num_pixels == num_pixels] if left else []
        first = batch.jobs[window.rows[0]].num_pixels
        alike = alike or [row for row in window.rows if batch.jobs[row].num_pixels == first]
        row = max(alike, key=lambda row: batch.jobs[row].request.cost) if window.is_last else alike[0]
        window.rows.remove(row)
        return row

    def _go_on(self, model: str, num_pixels: int) -> None:
        """Remember which size was chosen, and how many more of it may go before others."""
        size, left = self._moves.runs.get(model, (0, 0))
        if size != num_pixels or left == 0:
            left = max(1, self._num_slots(model))
        self._moves.runs[model] = (num_pixels, left - 1)

    def _num_slots(self, model: str) -> int:
        return sum(worker.slots for worker in self.living() if model in worker.models)

    # -- take back

    def take_back(self, judge_leases: bool) -> TakenBack:
        """Take back what nobody holds any more."""
        now_ms, lost, unclaimed = self._moves.now_ms(), list[str](), list[str]()
        for model in self._moves.queues:
            lost += self._lose_expired(model, now_ms) if judge_leases else []
            unclaimed += self._make_due_ready(
                self._moves.dispatched.get(model, {}), now_ms - in_ms(self._config.unclaimed_s)
            )
        self._moves.totals["unclaimed"] += len(unclaimed)
        self._make_due_ready(self._moves.delayed, now_ms)
        for name in _due({w.id: w.seen_ms for w in self._moves.workers.values()}, now_ms - WORKER_MEMORY_MS):
            del self._moves.workers[name]
            self._moves.reserved.pop(name, None)
        return TakenBack(tuple(lost), tuple(unclaimed))

    # -- forget

    def forget_batches(self) -> list[str]:
        """Forget batches that ended long ago, and what the queues remember of owners that left as long ago."""
        until_ms = self._moves.now_ms() - in_ms(self._config.retention_s)
        due = _due(self._moves.concluded, until_ms)[: FORGOTTEN_PER_CALL * BATCHES_PER_PIECE]
        for batch_id in due:
            self._moves.forget(self._moves.batches[batch_id])
        for model, queue in list(self._moves.queues.items()):
            queue.forget_levels(until_ms)
            if queue.is_blank and not self._moves.dispatched.get(model) and not self._moves.leases.get(model):
                del self._moves.queues[model]
        return due

    def _lose_expired(self, model: str, now_ms: int) -> list[str]:
        leases = self._moves.leases.get(model, {})
        expired = {job_id: leases[job_id] for job_id in _due(leases, now_ms)}
        for job_id, ends_ms in expired.items():
            job = self._moves.known(job_id)
            if self._is_unheld(job, ends_ms):
                self._moves.let_lapse(job)
            else:
                self._moves.lose(job, f"the lease of worker {job.worker} ran out")
        return list(expired)

    def _is_unheld(self, job: JobRecord, ends_ms: int) -> bool:
        """Whether a worker lives and renews, and has not spoken of a job since its lease was last lengthened."""
        lease_ms, worker = in_ms(self._config.lease_s), self._moves.workers.get(job.worker)
        told_ms, seen_ms = ends_ms - lease_ms, worker.seen_ms if worker else 0
        is_alive = seen_ms > told_ms and seen_ms > self._moves.now_ms() - lease_ms / 2
        return is_alive and job.still_ms < told_ms

    def _make_due_ready(self, waiting: dict[str, int], until_ms: int) -> list[str]:
        due = _due(waiting, until_ms)
        for job_id in due:
            del waiting[job_id]
            self._moves.make_ready(self._moves.known(job_id))
        return due


def in_ms(seconds: float) -> int:
    """Return seconds as whole milliseconds."""
    return round(seconds * 1000)


def _due(times: Mapping[str, int], now_ms: int) -> list[str]:
    """Return the names whose time has come, earliest first."""
    return sorted((name for name, at in times.items() if at <= now_ms), key=lambda name: (times[name], name))
