"""What the checker read: frozen data without IO. A job, and a batch, is read in one stroke: nothing moved within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sigmafarm_common.states import BatchPhase, JobState


class Place(StrEnum):
    """Where a job's id stands beside its record."""

    #: Queued, its wake-up call on its way.
    DISPATCHED = "dispatched"
    #: Queued, until a back-off is over.
    DELAYED = "delayed"
    #: Running, until its lease ends.
    LEASES = "leases"
    #: Running, in a worker's hands.
    HELD = "held"


def number_in(fields: Mapping[str, str], name: str) -> int:
    """Return a field as a number; 0 where it is not there, or was spoiled and is no number."""
    try:
        return int(fields.get(name) or 0)
    except ValueError:
        return 0


@dataclass(frozen=True)
class JobSeen:
    """A job and every place where it stands."""

    id: str
    batch_id: str
    row: int
    #: The job's hash; empty where there is none.
    fields: Mapping[str, str]
    has_request: bool
    #: Its request as JSON, put together; empty where a text of it is missing.
    request: str
    history: tuple[str, ...]
    is_batch_cancelling: bool
    #: States whose index holds its row.
    indexes: frozenset[str]
    #: Models among whose ready, dispatched and leased jobs it stands.
    ready: frozenset[str]
    dispatched: frozenset[str]
    leased: frozenset[str]
    is_delayed: bool
    #: Workers that hold it.
    holders: frozenset[str]

    @property
    def state(self) -> str:
        return self.fields.get("state", "")

    @property
    def model(self) -> str:
        return self.fields.get("model", "")

    @property
    def worker(self) -> str:
        return self.fields.get("worker", "")

    @property
    def is_terminal(self) -> bool:
        return self.state in {s.value for s in JobState if s.is_terminal}

    def number(self, name: str) -> int:
        """Return a field as a number, 0 where there is none."""
        return number_in(self.fields, name)


@dataclass(frozen=True)
class LinkSeen:
    """How a batch stands in the queue of one model."""

    model: str
    num_ready: int
    #: Whether the four sets that lead to it hold it: the models, the priorities, the owners, the owner's batches.
    steps: tuple[bool, bool, bool, bool]

    @property
    def is_whole(self) -> bool:
        return all(self.steps)

    @property
    def is_there(self) -> bool:
        return self.steps[3]


@dataclass(frozen=True)
class BatchSeen:
    """A batch without its jobs."""

    id: str
    #: The batch's hash; empty where there is none.
    fields: Mapping[str, str]
    #: How many rows each state's index holds.
    index_sizes: Mapping[JobState, int]
    links: tuple[LinkSeen, ...]
    is_listed: bool
    #: How many jobs failed, summed over the reasons.
    num_failures: int
    #: Whether its manifest waits to be written.
    is_due: bool
    #: Whether its end was concluded: then its records expire.
    is_concluded: bool
    is_cancel_pending: bool

    @property
    def is_sealed(self) -> bool:
        return self.fields.get("phase") == BatchPhase.SEALED

    @property
    def is_halted(self) -> bool:
        """Whether nothing of it may be dispatched."""
        return self.fields.get("paused") == "1" or self.fields.get("cancelling") == "1"

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(link.model for link in self.links)

    @property
    def num_rows(self) -> int:
        return number_in(self.fields, "rows")

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is queued or running."""
        return not self.index_sizes[JobState.QUEUED] and not self.index_sizes[JobState.RUNNING]


@dataclass(frozen=True)
class Entry:
    """A job's id in one of the places, and what that job's record says. `name` is a model or a worker."""

    place: Place
    name: str
    job_id: str
    state: str = ""
    model: str = ""
    worker: str = ""


@dataclass(frozen=True)
class QueueSeen:
    """A batch that stands in a level of a model's queue, and what its record says; no batch: nothing stands there."""

    model: str
    priority: str
    owner: str
    batch_id: str
    said_owner: str = ""
    said_priority: str = ""


@dataclass(frozen=True)
class FarmSeen:
    """What belongs to no single batch."""

    entries: tuple[Entry, ...]
    queues: tuple[QueueSeen, ...]
    #: Batches in the sets that name batches, by the set's name, which have no sealed record.
    strangers: tuple[tuple[str, str], ...]
    #: What is open by owner and by model: the hash, its field, the sum.
    sums: tuple[tuple[str, str, str], ...] = ()
