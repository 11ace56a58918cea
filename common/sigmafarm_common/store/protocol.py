"""What a store does: every question and every state change of the farm, in one place.

RedisStore keeps this contract, with one Lua script for each state change; tests/common/contracts/ is the suite for it.

Invariants after every call: a job is in exactly one state; its batch's counts equal the states of its jobs; a running
job has a lease, a fence and a worker; a terminal job changes only by retry; of all finishes of a job at most one per
claim is accepted. All times are milliseconds of the store's own clock (Redis TIME); arguments ending in _s are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from sigmafarm_common.keys import KeyRecord
from sigmafarm_common.records import Batch, Job, ModelCard, WorkerInfo
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState

#: Milliseconds after which a worker that says nothing any more is forgotten: a day.
WORKER_MEMORY_MS = 86_400_000
#: Longest back-off before another try, unless the first one is set to more.
LONGEST_BACK_OFF_MS = 60_000
#: Pieces of batches that one call forgets at most, and pieces that one takes back: a keeper's round stays short.
FORGOTTEN_PER_CALL = 20
TAKEN_BACK_PER_CALL = 20
#: Pieces of open batches that one call looks at, whether the indexes lost anything of them.
MENDED_PER_CALL = 5
#: The longest error of a keeper's round that is remembered.
MAX_ERROR_CHARS = 500
#: Tries without a picture that a job's history keeps, the newest.
HISTORY_LIMIT = 20
#: Seconds that one entry of the pace is about, and how many entries are kept: an hour.
PACE_S, PACE_ENTRIES = 10, 360
#: How long a preview is kept that no newer one replaced, in ms.
PREVIEW_MS = 15_000
#: How long the seats of a batch are kept at least after the last was taken, in ms: longer than any of them lasts.
SEATS_MS = 86_400_000
#: Deaths of worker processes after which a job runs alone, so that it takes no neighbour with it.
LOSSES_TO_BE_ALONE = 2


class DropReason(StrEnum):
    """Why a worker must let go of a job that it holds."""

    #: Its owner cancelled it.
    CANCELLED = "cancelled"
    #: Its batch was paused; the job is queued again.
    PAUSED = "paused"
    #: Its lease ran out and another may have it; a finish would be refused.
    LOST = "lost"


@dataclass(frozen=True)
class Ticket:
    """The answer to begin_batch. `is_new` is false when the idempotency key named a batch that is already sealed."""

    batch_id: str
    is_new: bool


class Fence(NamedTuple):
    """What a claim is told by: a number that grows with each claim of its job, and a token that is made up for it.

    The number orders the tries of a job. It may be given a second time by a store that lost its newest writes (a backup
    put back, a replica promoted); the token is not. So a worker's word counts only under both.
    """

    number: int
    token: str

    def __str__(self) -> str:
        return f"{self.number}-{self.token}"

    @classmethod
    def parse(cls, text: str) -> Fence:
        """Return the fence of its text."""
        number, _, token = text.partition("-")
        return cls(int(number), token)


class Try(NamedTuple):
    """One try at a job: the job, and the fence that it is drawn under."""

    job_id: str
    fence: Fence


@dataclass(frozen=True)
class Claim:
    """A worker's right to a job: the fence to finish it with, and what to draw."""

    job_id: str
    batch_id: str
    fence: Fence
    request: RenderRequest
    #: Tries so far that raised, and tries whose process died.
    attempts: int
    losses: int
    #: Whether its worker holds nothing else as long as it has this job.
    is_alone: bool = False

    @property
    def tried(self) -> Try:
        return Try(self.job_id, self.fence)


@dataclass(frozen=True)
class Beat:
    """What a worker says about one job when it renews: the steps done, and whether it moved since the last time.

    A job that did not move keeps its old lease; its worker still learns whether to drop it."""

    job_id: str
    fence: Fence
    step: int
    has_moved: bool


@dataclass(frozen=True)
class Output:
    """Where a finished picture lies."""

    image_key: str
    sha256: str
    size_bytes: int
    #: Milliseconds from the last pixel to the stored file: encoding and upload.
    upload_ms: int = 0
    #: What the model that drew it is made of; see ModelCard.
    fingerprint: str = ""


@dataclass(frozen=True)
class Dispatched:
    """A job whose wake-up call is to be published now."""

    job_id: str
    model: str


@dataclass(frozen=True)
class TakenBack:
    """What a round of take-back did."""

    #: Jobs whose lease had run out, now queued or failed.
    lost: tuple[str, ...] = ()
    #: Jobs that were dispatched and not claimed in time, now waiting for dispatch again.
    unclaimed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rounds:
    """When the leader last ended a whole round, and one of which a part failed, with what that said; 0: never."""

    good_ms: int = 0
    failed_ms: int = 0
    error: str = ""


@dataclass(frozen=True)
class Event:
    """One line of the event stream. `id` orders them and resumes a reader."""

    id: str
    kind: str
    batch_id: str
    job_id: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """A small picture of a running job, as far as it is drawn."""

    job_id: str
    fence: Fence
    step: int
    #: A WEBP file.
    webp: bytes


@dataclass(frozen=True)
class Pace:
    """What the farm finished in PACE_S seconds."""

    start_ms: int
    num_pictures: int
    #: Steps times megapixels of those pictures.
    cost: float


@dataclass(frozen=True)
class QueueInfo:
    """What waits for one model."""

    model: str
    #: Jobs waiting for dispatch by priority, in batches that are not paused.
    waiting: Mapping[int, int]
    #: Jobs with a wake-up call on its way, and jobs claimed.
    dispatched: int
    running: int
    #: Steps times megapixels of its queued and running jobs, those of paused batches too.
    open_cost: float = 0.0
    #: When the oldest batch with jobs waiting for dispatch was submitted, 0 for none.
    oldest_ms: int = 0


class Store(Protocol):
    """The contract. Every method raises StoreUnavailable (or AccessDenied) when the server does not answer in time."""

    # -- submit: begin, add rows in order, seal. Nothing is dispatched or listed before the seal.
    def begin_batch(
        self, *, name: str, owner: str, priority: int, defaults: Mapping[str, Any], idempotency_key: str | None = None
    ) -> Ticket:
        """Open a batch. With a key that a sealed batch of this owner has: that batch, and nothing is new.
        Raises SubmitInProgress while another submit with the key is alive; a dead one is discarded. Raises UnsafeServer
        where accepted jobs would be lost."""
        ...

    def add_rows(self, batch_id: str, requests: Sequence[RenderRequest], *, max_open_bytes: int = 0) -> None:
        """Append resolved requests (model named) to an open batch. Raises Conflict unless the batch is open, and
        QuotaExceeded where its owner's batches with open jobs, this one counted, would hold more bytes."""
        ...

    def seal_batch(self, batch_id: str, *, max_open_jobs: int = 0) -> Batch:
        """Accept the batch: from here on every job of it reaches a terminal state. Raises QuotaExceeded where its owner
        would have more open jobs: the batch is still open then, to be discarded."""
        ...

    def discard_batch(self, batch_id: str) -> None:
        """Forget an open batch whole. Does nothing if there is none; raises Conflict if it is sealed."""
        ...

    # -- read
    def batch(self, batch_id: str) -> Batch:
        """Return a sealed batch. Raises NotFound."""
        ...

    def batches(self, *, owner: str | None = None, limit: int = 50, before: str | None = None) -> list[Batch]:
        """Return sealed batches, newest first, starting behind the batch id `before`."""
        ...

    def job(self, job_id: str) -> Job:
        """Return a job. Raises NotFound."""
        ...

    def jobs(self, batch_id: str, *, state: JobState | None = None, after_row: int = -1, limit: int = 100) -> list[Job]:
        """Return jobs of a batch in row order, those of one state if one is named, rows above `after_row` only."""
        ...

    def workers(self) -> list[WorkerInfo]:
        """Return the workers seen within two leases, by id."""
        ...

    def models(self) -> list[ModelCard]:
        """Return the models that workers have registered, by name."""
        ...

    def queues(self) -> list[QueueInfo]:
        """Return what waits, by model."""
        ...

    def events(self, *, after: str = "$", limit: int = 100, block_s: float = 0) -> list[Event]:
        """Return events after an id ("0" the oldest kept, "$" only new ones), waiting up to block_s for the first."""
        ...

    def last_events(self, *, limit: int = 100) -> list[Event]:
        """Return the newest events, newest first."""
        ...

    # -- watch
    def failures(self, batch_id: str) -> dict[str, int]:
        """Return how many jobs of a batch failed, by error code."""
        ...

    def held_jobs(self, worker_id: str) -> list[str]:
        """Return the jobs in a worker's hands, in order of their ids."""
        ...

    def pace(self) -> list[Pace]:
        """Return what was finished in the last hour by PACE_S seconds, oldest first; where nothing was, no entry."""
        ...

    def totals(self) -> dict[str, int]:
        """Return what the farm has counted since it began: jobs submitted, claimed, succeeded, failed, cancelled and
        retried; tries that ended in errors, were lost or released; calls unclaimed; finishes refused."""
        ...

    def open_jobs(self, owner: str) -> int:
        """Return how many jobs of an owner are queued or running."""
        ...

    def want_previews(self, for_s: float = 10.0) -> None:
        """Ask workers to show their jobs for a time: somebody looks."""
        ...

    def are_previews_wanted(self) -> bool: ...

    def show(self, previews: Iterable[Preview]) -> None:
        """Keep the newest preview of each running job, and its step. Those under an old fence are left out."""
        ...

    def preview(self, job_id: str) -> Preview | None:
        """Return the newest preview of a job that runs, None where there is none (any more)."""
        ...

    # -- clients that wait for a batch at their request, at any process of the API
    def take_seat(self, batch_id: str, seat_id: str, *, for_s: float) -> None:
        """Say that a client waits for a batch. What nobody takes back counts for for_s: its process may have died."""
        ...

    def leave_seat(self, batch_id: str, seat_id: str) -> None:
        """Take that back."""
        ...

    def num_seats(self, batch_id: str) -> int:
        """Return how many clients wait for a batch."""
        ...

    # -- keys and allowances
    def add_key(self, key: KeyRecord) -> None:
        """Keep the record of a key. Raises Conflict for an id that is taken."""
        ...

    def keys(self) -> list[KeyRecord]:
        """Return the records of all keys, oldest first."""
        ...

    def key(self, key_id: str) -> KeyRecord | None: ...

    def revoke_key(self, key_id: str) -> None:
        """Forget a key. Raises NotFound."""
        ...

    def spend(self, name: str, *, per_s: float, burst: float, amount: float = 1.0) -> float:
        """Take from an allowance that refills by per_s and saves up at most burst. Return 0 when it was granted, else
        the seconds after which it would be: nothing was taken then."""
        ...

    # -- steer
    def drain_worker(self, worker_id: str, *, is_draining: bool = True) -> None:
        """Tell a worker to take no more jobs, or to take them again. Raises NotFound."""
        ...

    def is_drained(self, worker_id: str) -> bool:
        """Whether a worker was told to take no more jobs."""
        ...

    def pause_batch(self, batch_id: str) -> Batch:
        """Stop dispatching its jobs; running ones are dropped at their worker's next renewal and queued again."""
        ...

    def resume_batch(self, batch_id: str) -> Batch: ...

    def set_priority(self, batch_id: str, priority: int) -> Batch: ...

    def cancel_batch(self, batch_id: str) -> int:
        """Cancel every queued and running job of a batch; return how many there were."""
        ...

    def cancel_job(self, job_id: str) -> JobState:
        """Cancel a queued or running job and return its state; one that is already terminal stays as it is."""
        ...

    def retry_batch(
        self, batch_id: str, *, states: Iterable[JobState] = (JobState.FAILED,), max_open_jobs: int = 0
    ) -> int:
        """Queue the failed (and cancelled, if asked) jobs of a batch again; return how many. Raises QuotaExceeded where
        its owner would have more open jobs: those of one state are queued all or not at all."""
        ...

    def retry_job(self, job_id: str, *, max_open_jobs: int = 0) -> None:
        """Queue a failed or cancelled job again, with its history kept. Raises IllegalTransition otherwise, and
        QuotaExceeded."""
        ...

    # -- worker
    def register_models(self, cards: Iterable[ModelCard]) -> None:
        """Make models known to producers; the last card of a name counts. Two models under one name are not refused:
        `find_namesakes` of the workers tells them."""
        ...

    def claim(self, job_id: str, worker_id: str) -> Claim | None:
        """Take a dispatched job: running, fence + 1, lease from now. None for a duplicate, a ghost, a paused or
        cancelled job: the message is to be dropped. A record that is no request any more fails its job.
        Raises NotAlone for a job that runs alone while the worker holds others: claim it again, well within a lease;
        until then the worker is given no other job."""
        ...

    def renew(self, worker: WorkerInfo, beats: Sequence[Beat]) -> dict[Try, DropReason]:
        """Say that a worker lives, lengthen the leases of its jobs that moved, and return the tries to drop."""
        ...

    def drops(self, tries: Sequence[Try]) -> dict[Try, DropReason]:
        """Return which of a worker's tries are to be dropped, as `renew` does; nothing else happens."""
        ...

    def finish(self, job_id: str, fence: Fence, output: Output) -> bool:
        """Record the picture. False if the fence is old or the job no longer runs: the caller deletes its object.
        Saying the same finish twice is true twice."""
        ...

    def fail(self, job_id: str, fence: Fence, *, code: str, message: str, retryable: bool) -> JobState | None:
        """Record an error: queued again after a back-off that doubles up to a minute, or failed when it cannot be
        retried or tries are used up. Return the new state, or None if the fence is old."""
        ...

    def release(self, job_id: str, fence: Fence, *, outcome: str = "released", why: str = "") -> bool:
        """Hand a job back unfinished, queued at its old place, no try counted; its history keeps why. False if the
        fence is old."""
        ...

    def release_worker(self, worker_id: str) -> list[str]:
        """Take back at once every job of a worker whose process has died (each counts a loss), forget the worker, and
        return the jobs."""
        ...

    def forget_worker(self, worker_id: str) -> None:
        """Remove a worker that ended in order and holds nothing."""
        ...

    # -- keeper
    def lead(self, keeper_id: str, lease_s: float) -> bool:
        """Become or stay the leading keeper for a time; False while another leads."""
        ...

    def resign(self, keeper_id: str) -> None: ...

    def dispatch(self, *, limit: int = 1000) -> list[Dispatched]:
        """Choose the next jobs of every model, at most as many as its living workers have room for, by priority, then
        by fair share between owners and their batches (cost = steps x megapixels), then by row. A worker that has, or
        waits for, a job that runs alone has no room."""
        ...

    def now_ms(self) -> int:
        """Return the store's own time."""
        ...

    def server_uptime_s(self) -> float:
        """Return for how long the server has been up: a keeper does not judge leases right after a restart."""
        ...

    def take_back(self, *, judge_leases: bool = True) -> TakenBack:
        """Queue (or fail, after too many losses) jobs whose lease ran out: a loss, unless the worker lives, renews and
        no longer speaks of the job. Forget wake-up calls that nobody claimed; queue jobs whose back-off is over; forget
        workers that vanished. A job whose record is gone or cannot be read has failed."""
        ...

    def open_cancels(self) -> list[str]:
        """Return batches whose cancel is not through yet."""
        ...

    def stale_batches(self) -> list[str]:
        """Return open batches whose submitter has not written for submit_stale_s: it died, they are to be discarded."""
        ...

    def mend(self) -> int:
        """Look at some open batches, the next ones each time, and put back what the shared indexes lost of them; return
        how much that was."""
        ...

    def note_round(self, error: str = "") -> None:
        """Remember that the leader ended a whole round, or one of which a part failed, and what that said."""
        ...

    def rounds(self) -> Rounds:
        """Return what was remembered last."""
        ...

    def finished_batches(self, *, limit: int = 10) -> list[str]:
        """Return batches that reached their end and whose manifest is not written yet."""
        ...

    def manifest_written(self, batch_id: str, finished_ms: int) -> None:
        """Say that the manifest of a batch, as of that end, lies in the object store."""
        ...

    def due_sweeps(self, *, limit: int = 10) -> list[str]:
        """Return batches that are to be swept again now, those that wait longest first."""
        ...

    def plan_sweep(self, batch_id: str, after_s: float | None) -> None:
        """Have a batch swept again after a time; None: never."""
        ...

    def num_sweeps_planned(self, within_s: float) -> int:
        """Return how many batches are to be swept again within a time."""
        ...

    def forget_batches(self) -> list[str]:
        """Forget batches whose end is retention_s past and whose manifest is written, in order of their end, some at a
        time, and what the queues remember of owners that left as long ago. Return the batches that are gone whole."""
        ...


def losses_to_be_alone(max_losses: int) -> int:
    """Return the losses from which on a job runs alone: before the last death that it may be part of, if it can be."""
    return max(1, min(LOSSES_TO_BE_ALONE, max_losses - 1))
