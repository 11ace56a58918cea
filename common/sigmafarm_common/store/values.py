"""What goes into the store and comes out of it, and its limits: the words that RedisStore and its callers share.

All times are milliseconds of the store's own clock (Redis TIME).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.records import Batch
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState

#: The version of the farm's records. It grows when an older program would misread or spoil what this one writes: from
#: the first start of a newer program on, older ones are refused (docs/deploy/upgrade.md).
SCHEMA_VERSION = 1
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
#: What is measured of jobs, and the upper bounds of each histogram's buckets, in ms; one more bucket holds the rest.
#: `wait`: from the submit, or the newest retry by its owner, to the start of the try that ended the job. `draw`: that
#: try without its upload. `upload`: encoding and storing the picture.
BOUNDS_MS: Mapping[str, tuple[int, ...]] = {
    "wait": (1000, 5000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000, 86_400_000),
    "draw": (500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000),
    "upload": (50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000),
}
#: Numbers by model that are kept at most: some hundred models' worth.
MEASURED_FIELDS = 20_000
#: How long a preview is kept that no newer one replaced, in ms.
PREVIEW_MS = 15_000
#: How long the seats of a batch are kept at least after the last was taken, in ms: longer than any of them lasts.
SEATS_MS = 86_400_000
#: Batches that the record of an upload names, the newest of those that use it.
MAX_SHOWN_BATCHES = 100
#: Uploads that one call forgets, and objects of forgotten ones that are removed in one round.
UPLOADS_PER_CALL = 100
#: Equal jobs that are dispatched at once when the picture that they waited for is there.
TWINS_PER_CALL = 1000
#: The first rows of a batch of several sizes among which dispatch may choose one of the size that it chose last.
SIZE_WINDOW = 256
#: When no more rows of a batch wait than the workers draw in so many rounds, its longest go first.
LAST_ROUNDS = 2
#: The best of ratings; 0 is none.
BEST_RATING = 5
#: The least and the most urgent of batches.
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
#: Batches and models that one piece of forgetting looks at, and jobs that each batch counts as beside its own.
BATCHES_PER_PIECE, MODELS_PER_PIECE, JOBS_PER_BATCH = 50, 20, 10
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


class EventKind(StrEnum):
    """What an event tells."""

    BATCH_SUBMITTED = "batch.submitted"
    BATCH_PAUSED = "batch.paused"
    BATCH_RESUMED = "batch.resumed"
    BATCH_PRIORITY = "batch.priority"
    BATCH_CANCELLED = "batch.cancelled"
    BATCH_RETRIED = "batch.retried"
    #: Its last open job has ended.
    BATCH_FINISHED = "batch.finished"
    #: Of one job: what it is now. A cancel or retry of a whole batch tells of none.
    JOB_QUEUED = "job.queued"
    JOB_RUNNING = "job.running"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    #: Its picture was rated; nothing else of it changed.
    JOB_RATED = "job.rated"


@dataclass(frozen=True)
class Ticket:
    """The answer to begin_batch. `is_new` is false when the idempotency key named a batch that is already sealed."""

    batch_id: str
    is_new: bool
    #: What was said of the rows of a batch that is sealed; see seal_batch.
    said: str = ""


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


class Source(NamedTuple):
    """A job whose picture an equal one may take, and what is known of it."""

    job_id: str
    image_key: str
    sha256: str
    size_bytes: int
    fingerprint: str
    warnings: tuple[JobWarning, ...] = ()


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
    #: An equal job that has a picture; None where there is none, or its batch draws all anew.
    source: Source | None = None

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
    #: What is to be known of it; the store keeps what `bounded` leaves of it.
    warnings: tuple[JobWarning, ...] = ()
    #: The job whose picture this is a copy of; empty for one that was drawn.
    reused_from: str = ""


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
    #: Steps times megapixels of those pictures, and of jobs that failed for good: what left the queue.
    cost: float


@dataclass(frozen=True)
class Moment:
    """What the farm was like in PACE_S seconds."""

    start_ms: int
    num_pictures: int = 0
    #: Jobs that failed for good.
    num_failed: int = 0
    #: Queued jobs, those of paused batches too; None where nobody counted them.
    num_waiting: int | None = None


class Span(NamedTuple):
    """Rows of a batch: from `first` on, up to `end`, which is none of them."""

    batch: Batch
    first: int
    end: int


class Glance(NamedTuple):
    """The part of a job that lists are searched and sorted by. Cheap to read: it is not checked, nor made whole."""

    batch_id: str
    row: int
    state: JobState
    #: Its settings as they are stored, labels among them; empty where that was not asked for.
    request: Mapping[str, Any] = {}
    #: What became of it; nothing of this where that was not asked for.
    worker: str = ""
    error_code: str = ""
    error: str = ""
    warnings: tuple[str, ...] = ()
    started_ms: int = 0
    finished_ms: int = 0
    #: How its picture was rated, 0 for not at all.
    rating: int = 0


class Standing(NamedTuple):
    """A batch in a model's line: what waits of it, and whose turn it is by the times of fair sharing."""

    batch_id: str
    owner: str
    priority: int
    #: The virtual times of its owner at this priority, and of itself among the owner's batches: least goes first, and
    #: pays steps times megapixels.
    owner_time: float
    batch_time: float
    #: Jobs that wait for dispatch, and the steps times megapixels of one that is open, on average.
    num_waiting: int
    mean_cost: float
    created_ms: int = 0


@dataclass(frozen=True)
class Line:
    """All that waits for a model: batches, highest priority first."""

    model: str
    standings: tuple[Standing, ...]
    #: Jobs with a wake-up call on its way, and jobs claimed.
    num_dispatched: int = 0
    num_running: int = 0
    #: False where more batches wait than were read.
    is_whole: bool = True


class Place(NamedTuple):
    """Where a queued job waits: in its batch, on the way to a worker, or for a time to come; else nowhere."""

    #: Jobs of its batch that wait before it.
    num_before: int | None = None
    #: Jobs that were called before it, where its own call is on its way.
    num_called_before: int | None = None
    #: When its back-off, or its wait for an equal job, is over.
    delayed_until_ms: int | None = None


@dataclass(frozen=True)
class Durations:
    """How many durations each bucket of BOUNDS_MS holds, the last one beyond every bound; and their sum."""

    counts: tuple[int, ...]
    sum_ms: int = 0


@dataclass(frozen=True)
class Measured:
    """What was counted of one model's jobs since its first one ended."""

    model: str
    #: Jobs that reached each terminal state, the taken pictures of equal ones among them.
    states: Mapping[str, int] = field(default_factory=dict[str, int])
    #: Tries that ended in an error, and jobs that were given up, by error code.
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    failures: Mapping[str, int] = field(default_factory=dict[str, int])
    #: By the names of BOUNDS_MS; those of all jobs that were drawn, `wait` of those that were given up too.
    durations: Mapping[str, Durations] = field(default_factory=dict[str, Durations])


@dataclass(frozen=True)
class Memory:
    """What the store's server uses of its memory, in bytes, and how much it may: its own bound, else the machine's
    memory; 0 where the server does not say."""

    used_bytes: int = 0
    limit_bytes: int = 0


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


def losses_to_be_alone(max_losses: int) -> int:
    """Return the losses from which on a job runs alone: before the last death that it may be part of, if it can be."""
    return max(1, min(LOSSES_TO_BE_ALONE, max_losses - 1))
