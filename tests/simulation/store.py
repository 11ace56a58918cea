"""The records of the simulation: the model store, with the commands that it leaves out, and a look at every move."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, Protocol

from sigmafarm_common.config import Config
from sigmafarm_common.errors import QuotaExceeded
from sigmafarm_common.records import Batch, Upload
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Claim, Fence, Output, losses_to_be_alone
from tests.small_model.traces import MOVES
from tests.store_model.keeping import Keeping, in_ms
from tests.store_model.model_records import BatchRecord, JobRecord
from tests.store_model.moves import Moves
from tests.store_model.store_model import StoreModel

#: Seconds in which a worker hears of a cancel, and a picture that is stored meanwhile by slow calls is there.
HEARD_S = 15.0


#: Seconds in which a process that had found no seat before cancels at the latest.
SEATED_S = 5.0
#: What a rollback takes back.
SAVED = ("_moves", "_leader", "_leads_until_ms", "_drained", "_round_ms", "_sweeps", "_seats")


class Violation(BaseException):
    """A promise that was broken. No handler of the farm's catches it, as it would any error of a part."""


class Witness(Protocol):
    """Knows what really happened."""

    def note_accepted(self, job: JobRecord) -> None:
        """Look at a job that has just succeeded."""
        ...

    def fell_silent(self, worker_id: str) -> bool:
        """Whether a worker died, froze or was cut off within the last leases."""
        ...

    def reachable_s(self, last_s: float) -> float:
        """For how many of the last seconds the store was there."""
        ...

    def lost_claim(self, job: JobRecord) -> bool:
        """Whether the answer to a job's newest claim may have been lost."""
        ...


class WatchedMoves(Moves):
    """The model's moves, each of which must be one of the table and have its cause."""

    witness: Witness

    def move(self, job: JobRecord, to: JobState) -> None:
        if (job.state, to) not in MOVES:
            raise Violation(f"{job.id} went from {job.state} to {to}, which no job does")
        super().move(job, to)

    def lose(self, job: JobRecord, why: str) -> None:
        if not self.witness.fell_silent(job.worker):
            raise Violation(f"{job.id} counts a loss though {job.worker} lives and was never cut off ({why})")
        super().lose(job, why)

    def let_lapse(self, job: JobRecord) -> None:
        if not self.witness.lost_claim(job) and not self.witness.fell_silent(job.worker):
            raise Violation(f"{job.worker} does not speak of {job.id} any more, though it was told that it has it")
        super().let_lapse(job)

    def give_up(self, job: JobRecord, code: str, text: str) -> None:
        if code != "lost" and kind_of(job) != "broken" and job.attempts < self.config.max_attempts:
            raise Violation(f"{job.id} failed with {code} after {job.attempts} tries, and another may succeed: {text}")
        super().give_up(job, code, text)


def kind_of(job: JobRecord) -> str:
    """Return what a job's prompt asks for: see VirtualEngine."""
    return job.request.prompt.partition(" ")[0]


class SimulatedStore(StoreModel):
    """What a farm remembers, in one process and without a server."""

    def __init__(self, config: Config, now_ms: Callable[[], int], witness: Witness):
        super().__init__(config, now_ms)
        self._moves = WatchedMoves(config, now_ms)
        self._moves.witness = self._witness = witness
        self._keeping = Keeping(self._moves)
        self._drained: set[str] = set()
        self._round_ms = 0
        self._sweeps: dict[str, int] = {}
        #: Seats by batch: since when and until when they count.
        self._seats: dict[str, dict[str, tuple[int, int]]] = {}

    @property
    def bell(self):
        return self._moves.bell

    def seal_batch(self, batch_id: str, *, max_open_jobs: int = 0, **said: Any) -> Batch:
        batch = self._moves.batches.get(batch_id)
        num_open = 0  # with those of this batch
        if max_open_jobs and batch is not None and not batch.is_sealed:
            num_open = len(batch.jobs) + sum(job.batch.owner == batch.owner for job in self._moves.open_jobs())
        told = f"batch {batch_id} makes {num_open} open jobs of its owner, who may have {max_open_jobs}"
        try:
            answer = super().seal_batch(batch_id, max_open_jobs=max_open_jobs, **said)
        except QuotaExceeded:
            if num_open <= max_open_jobs:
                raise Violation(f"{told}, and is refused") from None
            raise
        if num_open > max_open_jobs:
            raise Violation(f"{told}, and is accepted")
        return answer

    def claim(self, job_id: str, worker_id: str) -> Claim | None:
        others = len(self._moves.held.get(worker_id, ()))
        claim = super().claim(job_id, worker_id)
        if claim is not None and others and claim.losses >= losses_to_be_alone(self._config.max_losses):
            raise Violation(
                f"{job_id} was there at {claim.losses} deaths, and {worker_id} has {others} others beside it"
            )
        return claim

    def finish(self, job_id: str, fence: Fence, output: Output) -> bool:
        job = self._moves.running(job_id, fence)
        if job is not None and (job.fence, job.token) != fence:
            raise Violation(f"{job_id} runs under {job.fence}-{job.token}, and a picture of {fence} is taken (I2)")
        is_ours = super().finish(job_id, fence, output)
        if job is not None:
            self._witness.note_accepted(job)
        elif not is_ours:
            self._check_waste(job_id, fence)
        return is_ours

    def fail(self, job_id: str, fence: Fence, *, code: str, message: str, retryable: bool) -> JobState | None:
        job = self._moves.running(job_id, fence)
        if job is not None and kind_of(job) not in ("broken", "memory"):
            raise Violation(f"{job_id} is charged with {code}, and nothing is wrong with it: {message}")
        return super().fail(job_id, fence, code=code, message=message, retryable=retryable)

    def cancel_batch(self, batch_id: str) -> int:
        now_ms = self._now_ms()
        for seat_id, (since_ms, until_ms) in self._seats.get(batch_id, {}).items():
            if until_ms > now_ms and now_ms - since_ms > 1000 * SEATED_S:
                raise Violation(f"{batch_id} is cancelled, and somebody waits for it at {seat_id}")
        return super().cancel_batch(batch_id)

    def _check_waste(self, job_id: str, fence: Fence) -> None:
        """Nothing is drawn to its end that was cancelled long before, by a worker that could hear of it."""
        job = self._moves.find(job_id)
        if job is None or job.state is not JobState.CANCELLED or (job.fence, job.token) != fence:
            return
        since_s = (self._now_ms() - job.finished_ms) / 1000
        if self._witness.reachable_s(since_s) > HEARD_S and not self._witness.fell_silent(job.worker):
            raise Violation(f"{job.worker} drew {job_id} to its end, {since_s} s after it was cancelled")

    @property
    def num_open(self) -> int:
        """Jobs that have not ended."""
        return sum(batch.num_open for batch in self._moves.batches.values() if batch.is_sealed)

    def open_records(self) -> list[JobRecord]:
        """Return the jobs that have not ended."""
        return list(self._moves.open_jobs())

    def all_records(self) -> list[JobRecord]:
        return [job for batch in self._moves.batches.values() if batch.is_sealed for job in batch.jobs]

    def now_ms(self) -> int:
        return self._now_ms()

    # What the model leaves out

    def is_drained(self, worker_id: str) -> bool:
        return worker_id in self._drained

    def drain_worker(self, worker_id: str, *, is_drained: bool = True) -> None:
        (self._drained.add if is_drained else self._drained.discard)(worker_id)

    def are_previews_wanted(self) -> bool:
        return False

    def open_cancels(self) -> list[str]:
        return []

    def mend(self) -> int:
        return 0

    def note_round(self, error: str = "") -> None:
        if error:
            raise Violation(f"a part of the keeper's round failed: {error}")
        self._round_ms = self._now_ms()

    def round_age_s(self) -> float | None:
        return (self._now_ms() - self._round_ms) / 1000 if self._round_ms else None

    def server_uptime_s(self) -> float:
        return 1e6

    def take_seat(self, batch_id: str, seat_id: str, *, for_s: float) -> None:
        seats, now_ms = self._seats.setdefault(batch_id, {}), self._now_ms()
        since_ms, _ = seats.get(seat_id, (now_ms, 0))
        seats[seat_id] = (since_ms, now_ms + in_ms(for_s))

    def leave_seat(self, batch_id: str, seat_id: str) -> None:
        self._seats.get(batch_id, {}).pop(seat_id, None)

    def num_seats(self, batch_id: str) -> int:
        return sum(until_ms > self._now_ms() for _, until_ms in self._seats.get(batch_id, {}).values())

    def plan_sweep(self, batch_id: str, after_s: float | None) -> None:
        if after_s is None:
            self._sweeps.pop(batch_id, None)
        else:
            self._sweeps[batch_id] = self._now_ms() + in_ms(after_s)

    def due_sweeps(self, *, limit: int = 10) -> list[str]:
        due = sorted((at, batch_id) for batch_id, at in self._sweeps.items() if at <= self._now_ms())
        return [batch_id for _, batch_id in due[:limit]]

    @property
    def num_sweeps(self) -> int:
        return len(self._sweeps)

    def wanted_pictures(self) -> dict[str, str]:
        """Return what the records say is stored: keys, with their SHA-256."""
        return {job.image_key: job.sha256 for job in self.all_records() if job.state is JobState.SUCCEEDED}

    def all_batches(self) -> list[BatchRecord]:
        """Return all batches, those that are being submitted among them."""
        return list(self._moves.batches.values())

    def all_uploads(self) -> list[Upload]:
        """Return the records of pictures to draw from."""
        return list(self._moves.uploads.values())

    def uploads_named(self, batch: BatchRecord, names: Iterable[str]) -> list[Upload]:
        """Return the records that jobs of a batch mean by these SHA-256."""
        found = (self._moves.uploads.get((batch.owner, name)) for name in names)
        return [upload for upload in found if upload is not None]

    @property
    def num_unsealed(self) -> int:
        """Batches whose submit was never ended."""
        return sum(not batch.is_sealed for batch in self._moves.batches.values())

    def has_batch(self, batch_id: str) -> bool:
        """Whether a batch is accepted and there."""
        batch = self._moves.batches.get(batch_id)
        return batch is not None and batch.is_sealed

    def has_ended(self, batch_id: str) -> bool:
        """Whether a batch has no open job left, or is not there."""
        batch = self._moves.batches.get(batch_id)
        return batch is None or (batch.is_sealed and batch.is_done)

    def find(self, job_id: str) -> JobRecord | None:
        """Return a job's record, if it is there."""
        return self._moves.find(job_id)

    def held_by(self) -> dict[str, list[str]]:
        """Return the running jobs in the hands of each worker."""
        return {worker: sorted(jobs) for worker, jobs in self._moves.held.items() if jobs}

    # Going back in time

    def saved(self) -> dict[str, Any]:
        """Return a copy of all that is remembered, as it stands on a disk."""
        shared = [self._now_ms, self._witness, self._moves.config, self._moves.now_ms, self._moves.bell]
        shared += [job.request for batch in self._moves.batches.values() for job in batch.jobs]
        memo = {id(each): each for each in shared}
        return {name: deepcopy(getattr(self, name), memo) for name in SAVED}

    def restore(self, saved: dict[str, Any]) -> None:
        """Remember what was saved, and nothing newer."""
        for name, value in saved.items():
            setattr(self, name, value)
        self._keeping = Keeping(self._moves)
