"""What the API's answers look like, for OpenAPI: the shapes of sigmafarm.shapes as models, and what only HTTP says.

Routes send the JSON of shapes.py as it is; these models document it. tests/http hold the two together: every answer of
a real server is checked against its schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sigmafarm.http.problems import Problem
from sigmafarm.matrices.matrix import DRAW_SEED_END, MAX_DRAWS
from sigmafarm_common.own_columns import MAX_COLUMNS
from sigmafarm_common.records import Batch, Job, ModelCard, Upload, WorkerInfo
from sigmafarm_common.settings import Settings
from sigmafarm_common.store.values import BEST_RATING, HIGHEST_PRIORITY, LOWEST_PRIORITY
from sigmafarm_common.validation import too_many_names

BATCH_ID, JOB_ID = "06f2v3k9qabcdef", "06f2v3k9qabcdef-000017"
IMAGE_ID = "sha256:" + "0f3c9a71" * 8


class CountsShape(BaseModel):
    """How many jobs of a batch stand in each state, and in all."""

    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    total: int


#: When something will be done.
ETA_S: Any = Field(description="Seconds until it is done, most likely; null where nobody can say.")
ETA_RANGE_S: Any = Field(
    examples=[[230.0, 350.5]], description="Between which two; the second is null where nothing tells how long at most."
)


class JobShape(Job):
    """A job. The last five are there while it waits for its turn."""

    queue_position: int = Field(0, description="From 1: how many jobs of its model are drawn before it, and it.")
    queue_length: int = Field(0, description="How many wait for its model.")
    is_position_exact: bool = Field(False, description="False where others share the farm: it is about right then.")
    eta_s: float | None = Field(None, description="Seconds until its picture is there, most likely.")
    eta_range_s: tuple[float, float | None] | None = Field(None, description="Between which two.")


class BatchShape(Batch):
    """A batch."""

    counts: CountsShape  # pyright: ignore[reportIncompatibleVariableOverride]
    #: Whether every job reached a terminal state.
    is_done: bool
    eta_s: float | None = ETA_S
    eta_range_s: tuple[float, float | None] | None = ETA_RANGE_S


class SteeredShape(BatchShape):
    """A batch after a cancel or a retry."""

    num_changed: int = Field(description="Jobs that were cancelled or queued again by this call.")
    is_complete: bool = Field(description="False where more jobs match than one call changes: call again.")


class BatchesShape(BaseModel):
    """A page of batches, newest first."""

    batches: list[BatchShape]
    next: str | None = Field(description="The cursor of the next page, null at the end. A page may be short before it.")


class FoundShape(BaseModel):
    """What a search came to."""

    num: int = Field(description="How many jobs it meant.")
    num_drawn: int = Field(description="How many of them have a picture.")
    num_seen: int = Field(description="How many were looked at.")
    is_complete: bool = Field(description="False where there are more than one search looks at; pages go on.")
    words: str = Field(examples=["41 pictures whose prompt holds 'zebra'"])


class JobsShape(BaseModel):
    """A page of a batch's jobs."""

    batch: str
    jobs: list[Job]
    next: str | None = Field(description="The cursor of the next page, null at the end. A page may be short before it.")
    found: FoundShape | None = Field(description="On the first page of a search; else null.")


class FarmJobsShape(BaseModel):
    """A page of the jobs of many batches, those of the newest batch first."""

    jobs: list[Job]
    next: str | None = Field(description="The cursor of the next page, null at the end. A page may be short before it.")
    found: FoundShape | None = Field(description="On the first page of a search; else null.")


class CountShape(BaseModel):
    """How many jobs match."""

    num: int
    is_complete: bool = Field(description="False where the batch is larger than one call looks at.")


class SkippedRow(BaseModel):
    row: int
    errors: list[str]


class SubmittedShape(BaseModel):
    """What became of a submission."""

    batch: BatchShape
    is_new: bool = Field(description="False where the idempotency key named a batch that was there already.")
    skipped: list[SkippedRow] = Field(
        description="The bad rows that were left out, where that was asked for: the first hundred."
    )
    num_skipped: int = Field(description="How many there were.")


class PlanShape(BaseModel):
    """What a submission would make."""

    num_jobs: int
    jobs: list[dict[str, Any]] = Field(description="The first hundred, every setting filled; drawn seeds are examples.")
    skipped: list[SkippedRow]
    num_skipped: int


class SubmissionShape(BaseModel):
    """A submission in JSON: prompts alone, or jobs with settings of their own."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [{"required": [name]} for name in ("prompts", "jobs")]}
    )

    prompts: list[str] = Field([], examples=[["a lighthouse at dawn", "a red barn"]])
    jobs: list[dict[str, Any]] = Field(
        [], examples=[[{"prompt": "a boat", "seed": 4, "width": 512}]], description="Settings by name, with a prompt."
    )
    name: str = Field("", max_length=200, description="A name for people.")
    priority: int = Field(0, ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY, description="Higher goes first.")
    defaults: Settings = Field(Settings(), description="For rows that do not say it themselves.")
    repeat: int = Field(1, ge=1, description="Jobs of each row; a seed counts up.")
    skip_bad: bool = Field(False, description="Leave bad rows out instead of refusing all.")
    keep: list[str] = Field(
        [],
        max_length=MAX_COLUMNS,
        description="Names in jobs to keep with them beside `id`, `label` and `x_...`, which always are.",
    )
    one_generator: bool = Field(
        False, description="Row i is picture i of one call with one seed, as diffusers' pipelines draw a list."
    )
    reuse: bool = Field(False, description="Take the pictures of equal jobs; draw equal ones once.")
    sweep: dict[str, list[Any]] = Field(
        {}, examples=[{"guidance_scale": [5, 7.5]}], description="Values by setting; a job of each combination."
    )
    alternatives: bool = Field(
        False, description="`{red|blue}` in prompts makes a job of each; `__animal__` of each line of a list."
    )
    draws: int = Field(0, ge=0, le=MAX_DRAWS, description="So many prompts drawn of each row, in place of all. 0: all.")
    draw_seed: int = Field(0, ge=0, lt=DRAW_SEED_END, description="What these are drawn by.")


class UploadShape(Upload):
    """A picture to draw from."""

    id: str = Field(examples=[IMAGE_ID], description="What settings call it.")


class PriorityShape(BaseModel):
    """What of a batch can be changed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    priority: int = Field(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY, examples=[10])

    @model_validator(mode="before")
    @classmethod
    def _has_few_names(cls, said: Any) -> Any:
        """Refuse an object with many names at the first look."""
        if isinstance(said, dict) and too_many_names(said):
            raise PydanticCustomError("too_many_names", "must be one value, such as 10, and nothing else")
        return said


class RatingShape(BaseModel):
    """What of a job can be changed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rating: int = Field(ge=0, le=BEST_RATING, examples=[5], description="0 takes it back.")

    @model_validator(mode="before")
    @classmethod
    def _has_few_names(cls, said: Any) -> Any:
        """Refuse an object with many names at the first look."""
        if isinstance(said, dict) and too_many_names(said):
            raise PydanticCustomError("too_many_names", "must be one value, such as 5, and nothing else")
        return said


class WorkerShape(WorkerInfo):
    """A worker, and what it draws now."""

    jobs: list[str] = Field(description="Jobs in its hands, those of the caller's owner.")


class WorkersShape(BaseModel):
    workers: list[WorkerShape]


class OpenAiModelShape(BaseModel):
    """A model as OpenAI's clients read it."""

    id: str
    object: str = Field(examples=["model"])
    created: int
    owned_by: str


class ModelShape(ModelCard):
    """A model, and what living workers say of it."""

    resident: list[str] = Field(description="Workers that serve it.")
    broken: Mapping[str, str] = Field(description="Why others could not load it, by worker.")


class ModelsShape(BaseModel):
    """The models, twice: as the farm knows them, and as OpenAI's clients ask for them at the same address."""

    object: str = Field(examples=["list"])
    data: list[OpenAiModelShape]
    models: list[ModelShape]


class QueueShape(BaseModel):
    """What waits for one model."""

    model: str
    waiting: Mapping[str, int] = Field(description="Jobs waiting for dispatch by priority.")
    dispatched: int
    running: int
    open_cost: float = Field(description="Steps times megapixels of its queued and running jobs.")
    oldest_ms: int = Field(description="When the oldest batch with waiting jobs was submitted, 0 for none.")
    why: str = Field(description="Why no living worker takes its jobs, and the cure; empty where one does.")


class PaceShape(BaseModel):
    """What was finished in ten seconds."""

    start_ms: int
    num_pictures: int
    cost: float


class FarmShape(BaseModel):
    """The whole farm in figures. For KEDA's metrics-api trigger: valueLocation worker_seconds, or
    worker_seconds_by_model.NAME."""

    queues: list[QueueShape]
    workers: list[WorkerInfo]
    batches: list[BatchShape] = Field(description="The newest of the caller's owner.")
    totals: Mapping[str, int] = Field(description="Since the farm began, by what happened.")
    pace: list[PaceShape] = Field(description="The last hour by ten seconds, oldest first; empty ones left out.")
    images_per_s: float = Field(description="Over the last minute.")
    open_cost: float = Field(description="Steps times megapixels of all queued and running jobs.")
    work_s: float = Field(description="Seconds until all of it is drawn, at the farm's pace.")
    worker_seconds: float = Field(description="The same for one worker alone: divided by a target, the workers needed.")
    worker_seconds_by_model: Mapping[str, float] = Field(
        description="The same of each model that the farm has seen, 0 where nothing is open."
    )
    is_measured: bool = Field(description="False while nothing was drawn that the two could be judged by.")
    eta_s: float | None = ETA_S
    eta_range_s: tuple[float, float | None] | None = ETA_RANGE_S
    last_event_id: str = Field(description="Where /v1/events may begin (`after`), empty where nothing happened yet.")


class HealthShape(BaseModel):
    status: str


class CheckShape(BaseModel):
    name: str
    message: str


class ReadyShape(BaseModel):
    """What was looked at. Where something is missing the answer is a 503 whose fields name it."""

    is_ready: bool
    checks: list[CheckShape]


class BatchStatus(StrEnum):
    """Which batches a list shows."""

    #: Some job is open and the batch is not paused.
    ACTIVE = "active"
    #: Paused, with open jobs.
    PAUSED = "paused"
    #: Every job reached a terminal state.
    DONE = "done"

    @classmethod
    def of(cls, batch: Batch) -> BatchStatus:
        """Return where a batch stands."""
        if batch.counts.is_done:
            return cls.DONE
        return cls.PAUSED if batch.is_paused else cls.ACTIVE


#: What each error status means here.
_MEANINGS: Mapping[int, str] = {
    401: "A key is needed, or this one is none (any more).",
    403: "The key lacks the scope, another site's page asks, or the farm is read-only.",
    404: "It does not exist, or it is another owner's.",
    409: "The state of the thing forbids it, or the same submission is being written just now.",
    408: "The body did not come in its time; try again.",
    413: "The body or the number of rows is above the limit.",
    415: "The body is of a type that is not read.",
    416: "The file has no such part.",
    422: "Something does not fit; nothing was changed.",
    429: "Above the rate or the quota of the key; Retry-After says when to come back.",
    503: "Redis or the object store does not answer; try again.",
}


#: What a 304 means, for the documentation.
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is as If-None-Match says."}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of a route's errors: those that every route has, and some of its own."""
    return {s: {"model": Problem, "description": _MEANINGS[s]} for s in sorted({401, 403, 422, 429, 503, *statuses})}
