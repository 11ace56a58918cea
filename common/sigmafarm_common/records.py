"""What became of what was asked for, and by whom: the records of jobs, batches, workers and models.

Frozen data without IO. Times are Redis TIME in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.picture_inputs import upload_name
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState, Outcome


class Attempt(BaseModel):
    """One try at a job that did not end in a picture."""

    model_config = ConfigDict(frozen=True)

    #: The fence of that try.
    fence: int
    #: The worker that had it.
    worker: str
    #: How it ended.
    outcome: Outcome
    #: What was said about it.
    error: str = ""
    #: When it began and ended, Redis TIME in milliseconds.
    started_ms: int = 0
    ended_ms: int = 0


class Job(BaseModel):
    """The whole record of a job, as status shows it. Times are Redis TIME in milliseconds, 0 for not yet."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    id: str
    batch_id: str
    #: Position in the batch, from 0.
    row: int
    state: JobState
    owner: str
    model: str
    priority: int
    request: RenderRequest
    #: Calls of the network done in the current try, of `num_steps`: one a step with most samplers.
    step: int
    num_steps: int
    #: Grows with each claim; a finish with an older one is refused.
    fence: int
    #: Tries that ended in a raised error, and tries whose process died.
    attempts: int
    losses: int
    #: The worker that has it, or had it last.
    worker: str = ""
    submitted_ms: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    #: Why it failed: a stable code and a sentence.
    error_code: str = ""
    error: str = ""
    #: Where the picture lies in the object store, its SHA-256 and its size.
    image_key: str = ""
    sha256: str = ""
    size_bytes: int = 0
    #: How long encoding and uploading it took, the end of the time between started_ms and finished_ms.
    upload_ms: int = 0
    #: What the model that drew it is made of; see ModelCard. Empty where that is not known.
    fingerprint: str = ""
    #: The equal job whose picture it took; empty for one that was drawn.
    reused_from: str = ""
    #: What is to be known of its picture although it was drawn.
    warnings: tuple[JobWarning, ...] = ()
    #: How a person rated its picture, from 1 to 5; 0 for not at all.
    rating: int = 0
    #: Tries that did not end in a picture, oldest first.
    history: tuple[Attempt, ...] = ()


class Counts(BaseModel):
    """How many jobs of a batch stand in each state."""

    model_config = ConfigDict(frozen=True)

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.queued + self.running + self.succeeded + self.failed + self.cancelled

    @property
    def num_terminal(self) -> int:
        return self.succeeded + self.failed + self.cancelled

    @property
    def percent_done(self) -> int:
        """How much of it is over, in whole percents."""
        return 100 * self.num_terminal // self.total if self.total else 100

    @property
    def is_done(self) -> bool:
        """Whether every job reached a terminal state."""
        return self.queued == 0 and self.running == 0


class Batch(BaseModel):
    """The whole record of a batch but for its jobs."""

    model_config = ConfigDict(frozen=True)

    id: str
    #: As it was given; empty where it was not.
    name: str
    #: What it is called: its name, else the file that it came from, else its first prompt's first words, else its id.
    title: str = ""
    owner: str
    #: Higher goes first; -100 to 100.
    priority: int
    is_paused: bool
    #: The batch that it goes on from, as "again with changes" makes one; empty for none. It may be forgotten by now.
    parent: str = ""
    #: Whether its jobs take the pictures of equal ones, and how many did.
    reuse: bool = False
    num_reused: int = 0
    counts: Counts
    #: How many of its jobs carry a warning, by its code.
    warnings: Mapping[str, int] = Field(default_factory=dict)
    #: How many of its pictures a person has rated.
    num_rated: int = 0
    created_ms: int
    #: When its last job reached a terminal state, 0 while any is open.
    finished_ms: int = 0
    #: The settings that its rows took where they said nothing.
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    #: Grows with every change of the batch or of one of its jobs, steps included.
    revision: int = 0
    #: Steps times megapixels of its queued and running jobs.
    open_cost: float = 0.0


class Upload(BaseModel):
    """A picture that jobs of one owner may draw from, as it is stored."""

    model_config = ConfigDict(frozen=True)

    #: Of the stored file: what it is called by.
    sha256: str
    owner: str
    #: Where it lies in the object store.
    key: str
    size_bytes: int
    #: In pixels, turned as it is to be seen.
    width: int
    height: int
    #: Whether it is the picture of a job: then it lies where that put it, and stays there.
    is_linked: bool = False
    created_ms: int = 0
    #: How many batches use it, and the newest of them. It is kept as long as there is one.
    num_batches: int = 0
    batches: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What settings call it."""
        return upload_name(self.sha256)


class WorkerInfo(BaseModel):
    """What a worker last said about itself."""

    model_config = ConfigDict(frozen=True)

    id: str
    #: Models that it serves.
    models: tuple[str, ...]
    host: str
    pid: int
    device: str
    #: Jobs that its engine can draw at once, and how many more it may hold waiting.
    slots: int
    lookahead: int
    #: Jobs that it holds now.
    num_jobs: int = 0
    #: Pictures finished since it started.
    num_done: int = 0
    #: Seconds of the engine's last step, smoothed.
    step_s: float = 0.0
    #: Pictures a second, over the last minute or so.
    images_per_s: float = 0.0
    #: Memory that it has taken: of its device where that counts it, else of the process.
    memory_bytes: int = 0
    is_draining: bool = False
    #: Why it takes no more jobs although nobody told it to stop: they kept failing, or pictures cannot be stored. Empty
    #: for a healthy one.
    failing: str = ""
    #: Models of its models file that it could not load, by name, and why. It serves the others.
    broken: Mapping[str, str] = Field(default_factory=dict)
    #: What each of its models is made of, by name; see ModelCard. Empty from a worker of an older version.
    fingerprints: Mapping[str, str] = Field(default_factory=dict)
    #: The most pixels of a picture that its device has memory for, by model; a model that is not named has no limit
    #: that is known.
    max_pixels: Mapping[str, int] = Field(default_factory=dict)
    started_ms: int = 0
    seen_ms: int = 0

    @property
    def takes_jobs(self) -> bool:
        """Whether it takes more jobs, as far as it has said itself."""
        return not self.is_draining and not self.failing

    @property
    def num_filled(self) -> int:
        """Slots with a job in them; what it holds beyond those lies ready."""
        return min(self.num_jobs, self.slots)


class ModelCard(BaseModel):
    """What the farm knows of a model: its name, and the settings that it draws best with (native size among them)."""

    model_config = ConfigDict(frozen=True)

    name: str
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    #: One line for people.
    description: str = ""
    #: Other names that requests may call it by.
    aliases: tuple[str, ...] = ()
    #: What it is made of (weights, configurations, words), in a few letters: models with one name and two fingerprints
    #: draw two pictures of one job. Empty for one that no worker has loaded yet.
    fingerprint: str = ""
    #: Where each part comes from: a hub name, or the last name of its folder or file. No path of a machine is told.
    parts: Mapping[str, str] = Field(default_factory=dict)
    #: What its UNet predicts: epsilon, v_prediction or sample. Empty where that is not known.
    prediction_type: str = ""
    #: Whether its training ended in pure noise, which not every sampler can begin in.
    is_zero_snr: bool = False
    #: Why it cannot be loaded, with the file, the value and the cure; empty for a sound one.
    problem: str = ""
