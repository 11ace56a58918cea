"""The model's own records: what Redis keeps in hashes, as objects that change."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.records import Attempt, Batch, Counts, Job
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.ids import job_id
from sigmafarm_common.store.packing import same_of
from sigmafarm_common.store.values import Fence


@dataclass
class BatchRecord:
    """A batch, open or sealed, with its jobs in row order."""

    id: str
    name: str
    owner: str
    priority: int
    defaults: Mapping[str, Any]
    idempotency_key: str | None
    created_ms: int
    #: When its submitter last wrote to it.
    touched_ms: int
    is_sealed: bool = False
    is_paused: bool = False
    #: Whether its jobs take the pictures of equal ones.
    reuse: bool = False
    #: The batch that it goes on from.
    parent: str = ""
    #: The traceparent of its submit.
    trace: str = ""
    #: What was said of its rows when it was sealed.
    said: str = ""
    #: What it is called if it has no name.
    title: str = ""
    finished_ms: int = 0
    jobs: list[JobRecord] = field(default_factory=list["JobRecord"])
    #: How many of its jobs stand in each state.
    counts: Counter[JobState] = field(default_factory=Counter[JobState])
    #: Grows with every change.
    revision: int = 0
    #: How many of its jobs failed, by error code.
    failures: Counter[str] = field(default_factory=Counter[str])
    #: Texts that its rows share, and the bytes that the store would keep of its requests.
    texts: dict[str, str] = field(default_factory=dict[str, str])
    size_bytes: int = 0
    #: Uploads that its jobs draw from, by SHA-256.
    uploads: set[str] = field(default_factory=set[str])
    #: The sizes of its pictures, in pixels.
    sizes: set[int] = field(default_factory=set[int])
    #: What its jobs cost.
    costs: set[float] = field(default_factory=set[float])
    #: Rows that wait for dispatch, in order, by model.
    ready: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    @property
    def num_open(self) -> int:
        return self.counts[JobState.QUEUED] + self.counts[JobState.RUNNING]

    @property
    def is_done(self) -> bool:
        return not self.num_open

    @property
    def is_mixed(self) -> bool:
        """Whether its jobs are of several sizes."""
        return len(self.sizes) > 1

    def add(self, request: RenderRequest, now_ms: int) -> None:
        """Append a job, queued and ready."""
        job = JobRecord(self, len(self.jobs), request, submitted_ms=now_ms, waits_since_ms=now_ms)
        self.jobs.append(job)
        self.sizes.add(job.num_pixels)
        self.costs.add(request.cost)
        self.counts[JobState.QUEUED] += 1
        self.add_ready(job)

    def add_ready(self, job: JobRecord) -> None:
        """Let a job wait at the place of its row."""
        insort(self.ready.setdefault(job.model, []), job.row)

    def remove_ready(self, job: JobRecord) -> bool:
        """Let a job wait no more; return whether it did."""
        rows = self.ready.get(job.model, [])
        at = bisect_left(rows, job.row)
        if rows[at : at + 1] != [job.row]:
            return False
        del rows[at]
        return True

    def snapshot(self) -> Batch:
        """Return what status shows of it."""
        return Batch(
            id=self.id,
            name=self.name,
            title=self.name or self.title or self.id,
            owner=self.owner,
            priority=self.priority,
            is_paused=self.is_paused,
            parent=self.parent,
            reuse=self.reuse,
            num_reused=sum(bool(job.reused_from) for job in self.jobs),
            counts=Counts(**{state.value: self.counts[state] for state in JobState}),
            warnings=Counter(each.code for job in self.jobs for each in job.warnings),
            num_rated=sum(job.rating > 0 for job in self.jobs),
            created_ms=self.created_ms,
            finished_ms=self.finished_ms,
            defaults=self.defaults,
            revision=self.revision,
            open_cost=sum(job.work for job in self.jobs if not job.state.is_terminal) / 1e6,
        )


@dataclass
class JobRecord:
    """A job. Its state changes in Moves and nowhere else."""

    batch: BatchRecord
    row: int
    request: RenderRequest
    submitted_ms: int
    #: Its submit, or the newest retry by its owner.
    waits_since_ms: int
    state: JobState = JobState.QUEUED
    step: int = 0
    fence: int = 0
    token: str = ""
    #: When its worker last said that it stands still, in ms.
    still_ms: int = 0
    attempts: int = 0
    losses: int = 0
    worker: str = ""
    started_ms: int = 0
    finished_ms: int = 0
    error_code: str = ""
    error: str = ""
    image_key: str = ""
    sha256: str = ""
    size_bytes: int = 0
    upload_ms: int = 0
    fingerprint: str = ""
    reused_from: str = ""
    warnings: tuple[JobWarning, ...] = ()
    rating: int = 0
    history: list[Attempt] = field(default_factory=list[Attempt])

    @cached_property
    def id(self) -> str:
        return job_id(self.batch.id, self.row)

    @cached_property
    def same(self) -> str:
        """What equal jobs have alike."""
        return same_of(self.request)

    @property
    def model(self) -> str:
        return self.request.model or ""

    @cached_property
    def work(self) -> int:
        """Steps times pixels."""
        return round(self.request.cost * 1e6)

    @cached_property
    def num_pixels(self) -> int:
        return round(self.request.cost * 1e6 / self.request.num_calls)

    @property
    def num_steps(self) -> int:
        return self.request.num_inference_steps or 0

    def runs_under(self, fence: Fence) -> bool:
        """Whether a worker with this fence still has it."""
        return self.state is JobState.RUNNING and (self.fence, self.token) == fence

    def snapshot(self) -> Job:
        """Return what status shows of it."""
        return Job(
            id=self.id,
            batch_id=self.batch.id,
            row=self.row,
            state=self.state,
            owner=self.batch.owner,
            model=self.model,
            priority=self.batch.priority,
            request=self.request,
            step=self.step,
            num_steps=self.num_steps,
            fence=self.fence,
            attempts=self.attempts,
            losses=self.losses,
            worker=self.worker,
            submitted_ms=self.submitted_ms,
            started_ms=self.started_ms,
            finished_ms=self.finished_ms,
            error_code=self.error_code,
            error=self.error,
            image_key=self.image_key,
            sha256=self.sha256,
            size_bytes=self.size_bytes,
            upload_ms=self.upload_ms,
            fingerprint=self.fingerprint,
            reused_from=self.reused_from,
            warnings=self.warnings,
            rating=self.rating,
            history=tuple(self.history),
        )
