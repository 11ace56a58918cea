"""What a store does: every question and every state change of the farm, by who asks.

Each part of the house takes the side that it needs; `Store` is all of them. RedisStore keeps this contract, with one
Lua script for each state change; tests/common/contracts/ is the suite for it.

Invariants after every call: a job is in exactly one state; its batch's counts equal the states of its jobs; a running
job has a lease, a fence and a worker; a terminal job changes only by retry; of all finishes of a job at most one per
claim is accepted. All times are milliseconds of the store's own clock (Redis TIME); arguments ending in _s are seconds.
Every method raises StoreUnavailable (or AccessDenied) when the server does not answer in time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sigmafarm_common.keys import KeyRecord
from sigmafarm_common.records import Batch, Job, ModelCard, Upload, WorkerInfo
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState, Outcome
from sigmafarm_common.store.values import (
    Beat,
    Claim,
    Dispatched,
    DropReason,
    Event,
    Fence,
    Glance,
    Line,
    Measured,
    Memory,
    Moment,
    Output,
    Pace,
    Place,
    Preview,
    QueueInfo,
    Rounds,
    Span,
    TakenBack,
    Ticket,
    Try,
)


class SubmitSide(Protocol):
    """What those who submit ask: begin, add rows in order, seal. Nothing is dispatched or listed before the seal."""

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
        """Open a batch; `parent` is the one that it goes on from, if it does, `trace` the traceparent of its submit.
        With a key that a sealed batch of this owner has: that batch, and nothing is new. With `reuse`, its jobs take
        the pictures of equal ones of this owner, drawn by the same weights, and wait while one is drawn. Raises
        SubmitInProgress while another submit with the key is alive; a dead one is discarded. Raises UnsafeServer where
        accepted jobs would be lost."""
        ...

    def add_rows(self, batch_id: str, requests: Sequence[RenderRequest], *, max_open_bytes: int = 0) -> None:
        """Append resolved requests (model named) to an open batch. From here on its uploads are kept. Raises Conflict
        unless the batch is open, QuotaExceeded where its owner's batches with open jobs, this one counted, would hold
        more bytes, and InvalidRequest for an upload that is not there (any more)."""
        ...

    def seal_batch(
        self, batch_id: str, *, num_rows: int | None = None, max_open_jobs: int = 0, said: str = "", title: str = ""
    ) -> Batch:
        """Accept the batch: from here on every job of it reaches a terminal state. `said` is a text by which its rows
        are known again: whoever says its idempotency key is told it. `title` is what it is called if it has no name.
        Raises NotFound unless it is open or sealed already, RecordsLost unless it has `num_rows` rows, where they were
        counted, and QuotaExceeded where its owner would have more open jobs: the batch is still open then, to be
        discarded."""
        ...

    def wait_for_disk(self) -> None:
        """Wait until all that was written is on the server's disk, where the settings ask for that (durable_submit).
        Raises StoreUnavailable where it takes too long, UnsafeServer where the server cannot tell."""
        ...

    def discard_batch(self, batch_id: str) -> None:
        """Forget an open batch whole. Does nothing if there is none; raises Conflict if it is sealed."""
        ...

    def open_jobs(self, owner: str) -> int:
        """Return how many jobs of an owner are queued or running."""
        ...


class ReadSide(Protocol):
    """What is asked of a farm and changes nothing."""

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

    def jobs_named(self, job_ids: Sequence[str]) -> list[Job]:
        """Return some jobs in this order; those that are not there (any more) are left out."""
        ...

    def first_pictures(self, batch_ids: Sequence[str], *, num: int = 3) -> dict[str, list[str]]:
        """Return the first jobs of some batches that have a picture, by batch; none of those that have none."""
        ...

    def glances(
        self,
        spans: Sequence[Span],
        *,
        states: Collection[JobState] = (),
        has_request: bool = True,
        has_fate: bool = False,
    ) -> list[Glance]:
        """Return what jobs are searched by: those of some spans, in that order, by row, and of some states (none named:
        all). `has_fate`: also what became of them, which costs as much again. Rows without a record are left out."""
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

    def lines(self, *, limit: int = 1000) -> list[Line]:
        """Return who waits for each model, in the farm's order as far as `limit` batches of each owner."""
        ...

    def place_of(self, job_id: str, model: str) -> Place:
        """Return where a queued job waits; nowhere for one that does not (any more)."""
        ...

    def events(self, *, after: str = "$", limit: int = 100, block_s: float = 0) -> list[Event]:
        """Return events after an id ("0" the oldest kept, "$" only new ones), waiting up to block_s for the first."""
        ...

    def last_events(self, *, limit: int = 100) -> list[Event]:
        """Return the newest events, newest first."""
        ...

    def failures(self, batch_id: str) -> dict[str, int]:
        """Return how many jobs of a batch failed, by error code."""
        ...

    def held_jobs(self, worker_id: str) -> list[str]:
        """Return the jobs in a worker's hands, in order of their ids."""
        ...

    def pace(self) -> list[Pace]:
        """Return what was finished in the last hour by PACE_S seconds, oldest first; where nothing was, no entry."""
        ...

    def moments(self) -> list[Moment]:
        """Return what the farm was like in the last hour by PACE_S seconds, oldest first; where nothing is known of
        one, no entry."""
        ...

    def totals(self) -> dict[str, int]:
        """Return what the farm has counted since it began: jobs submitted, claimed, succeeded, failed, cancelled and
        retried; tries that ended in errors, were lost or released; calls unclaimed; finishes refused."""
        ...

    def measured(self) -> list[Measured]:
        """Return what was counted and timed of jobs, by model. A retry, or a call that is said twice, counts once."""
        ...

    def memory(self) -> Memory:
        """Return how full the store's server is."""
        ...

    def rounds(self) -> Rounds:
        """Return what was remembered last."""
        ...

    def now_ms(self) -> int:
        """Return the store's own time."""
        ...


class SteerSide(Protocol):
    """What people do to batches, jobs and workers."""

    def pause_batch(self, batch_id: str) -> Batch:
        """Stop dispatching its jobs; running ones are dropped at their worker's next renewal and queued again."""
        ...

    def resume_batch(self, batch_id: str) -> Batch: ...

    def set_priority(self, batch_id: str, priority: int) -> Batch:
        """Change the priority of what still waits. Raises InvalidRequest for one beyond -100 to 100."""
        ...

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

    def rate_job(self, job_id: str, rating: int) -> None:
        """Keep how a picture is rated, from 1 to 5, 0 for not at all. Raises InvalidRequest for another rating,
        NotFound, and Conflict for a job without a picture."""
        ...

    def drain_worker(self, worker_id: str, *, is_draining: bool = True) -> None:
        """Tell a worker to take no more jobs, or to take them again. Raises NotFound."""
        ...


class WatchSide(Protocol):
    """What those ask who look at a job while it is drawn."""

    def want_previews(self, for_s: float = 10.0) -> None:
        """Ask workers to show their jobs for a time: somebody looks."""
        ...

    def preview(self, job_id: str) -> Preview | None:
        """Return the newest preview of a job that runs, None where there is none (any more)."""
        ...


class SeatSide(Protocol):
    """Clients that wait for a batch at their request, at any process of the API."""

    def take_seat(self, batch_id: str, seat_id: str, *, for_s: float) -> None:
        """Say that a client waits for a batch. What nobody takes back counts for for_s: its process may have died."""
        ...

    def leave_seat(self, batch_id: str, seat_id: str) -> None:
        """Take that back."""
        ...

    def num_seats(self, batch_id: str) -> int:
        """Return how many clients wait for a batch."""
        ...


class UploadSide(Protocol):
    """Pictures that jobs draw from: the records of them. Their bytes lie in the object store."""

    def note_upload(self, upload: Upload, *, max_bytes: int = 0) -> Upload:
        """Keep the record of a picture whose bytes lie at its key, and return the one that counts: one that its owner
        has already of that SHA-256, whose time begins anew; the caller then removes what it put. Raises QuotaExceeded
        where the owner's uploads would have more bytes."""
        ...

    def touch_upload(self, owner: str, sha256: str) -> Upload | None:
        """Begin the time anew of an upload that no batch uses; None where there is none."""
        ...

    def upload(self, owner: str, sha256: str) -> Upload:
        """Return an upload. Raises NotFound."""
        ...


class KeySide(Protocol):
    """The API's keys, and what each may spend."""

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


class WorkerSide(Protocol):
    """What a worker asks, and its supervisor."""

    # Also asked by people: ReadSide.
    def workers(self) -> list[WorkerInfo]: ...

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

    def release(self, job_id: str, fence: Fence, *, outcome: Outcome = Outcome.RELEASED, why: str = "") -> bool:
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

    def is_drained(self, worker_id: str) -> bool:
        """Whether a worker was told to take no more jobs."""
        ...

    def are_previews_wanted(self) -> bool: ...

    def show(self, previews: Iterable[Preview]) -> None:
        """Keep the newest preview of each running job, and its step. Those under an old fence are left out."""
        ...

    def trace_of(self, batch_id: str) -> str:
        """Return the traceparent that a batch was begun with, empty for none."""
        ...

    def upload_of(self, batch_id: str, sha256: str) -> Upload:
        """Return an upload of a batch's owner. Raises NotFound."""
        ...


class KeeperSide(Protocol):
    """What the keeper asks: lead, dispatch, take back, forget."""

    # Also asked by people: SteerSide, SubmitSide.
    def cancel_batch(self, batch_id: str) -> int: ...
    def discard_batch(self, batch_id: str) -> None: ...

    def lead(self, keeper_id: str, lease_s: float) -> bool:
        """Become or stay the leading keeper for a time; False while another leads."""
        ...

    def resign(self, keeper_id: str) -> None: ...

    def dispatch(self, *, limit: int = 1000) -> list[Dispatched]:
        """Choose the next jobs of every model, at most as many as its living workers have room for, by priority, then
        by fair share between owners and their batches (cost = steps x megapixels), then by row. A worker that has, or
        waits for, a job that runs alone has no room."""
        ...

    def wait_for_bell(self, timeout_s: float) -> bool:
        """Wait until something may be dispatched that could not before: jobs came, or room for them. Return whether it
        may, False when the time is over. One call hears of all that happened since the last."""
        ...

    def ring_bell(self) -> None:
        """Wake whoever waits for the bell, though nothing can be dispatched: it is to end."""
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
        """Remember that the leader ended a whole round, or one of which a part failed, and what that said; and, once in
        PACE_S seconds, how many jobs wait."""
        ...

    def round_age_s(self) -> float | None:
        """Return the seconds since a leader last ended a round, whole or not; None if none ever did."""
        ...

    def server_uptime_s(self) -> float:
        """Return for how long the server has been up: a keeper does not judge leases right after a restart."""
        ...

    def forget_batches(self) -> list[str]:
        """Forget batches whose end is retention_s past and whose manifest is written, in order of their end, some at a
        time, and what the queues remember of owners that left as long ago. Return the batches that are gone whole."""
        ...


class ConcluderSide(ReadSide, Protocol):
    """What the concluder asks: which batches are over, and which are to be swept again."""

    def finished_batches(self, *, limit: int = 10) -> list[str]:
        """Return batches that reached their end and whose manifest is not written yet."""
        ...

    def note_manifest(self, batch_id: str, finished_ms: int, revision: int | None = None) -> None:
        """Say that the manifest of a batch, as of that end and that revision, lies in the object store; it stays due
        where either has changed."""
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

    def drop_uploads(self) -> int:
        """Forget uploads that no batch has used for upload_keep_s, some at a time; return how many. From then on their
        objects are to be removed."""
        ...

    def deletions(self) -> list[str]:
        """Return keys of objects that are to be removed, some of them."""
        ...

    def note_deleted(self, keys: Sequence[str]) -> None:
        """Say that objects are removed."""
        ...


class Store(
    SubmitSide, SteerSide, WatchSide, SeatSide, UploadSide, KeySide, WorkerSide, KeeperSide, ConcluderSide, Protocol
):
    """All sides."""
