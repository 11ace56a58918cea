"""sigmafarm: a render farm for Stable Diffusion. These are its public names; everything else may change.

from sigmafarm import Farm, RenderRequest

farm = Farm.from_env()
batch = farm.submit(["a lighthouse at dawn", RenderRequest(prompt="a red barn", seed=4)], name="first")
batch.wait(progress=True)
batch.download("out/")
for job, image in batch.images():  # Pillow's, as they are drawn
    image.save(f"{job.row}.png")

AsyncFarm is the same for asyncio. Every error is a SigmafarmError.
"""

from typing import TYPE_CHECKING, Any

from sigmafarm.aio import AsyncFarm, AsyncFarmBatch, AsyncFarmJob
from sigmafarm.batch import FarmBatch
from sigmafarm.download import Download
from sigmafarm.farm import Farm
from sigmafarm.job import FarmJob
from sigmafarm.sheets import Sheet
from sigmafarm.submission import Plan, Quota
from sigmafarm_common.config import Config
from sigmafarm_common.errors import (
    AccessDenied,
    Conflict,
    FarmUnavailable,
    FieldError,
    IllegalTransition,
    InvalidInput,
    InvalidPicture,
    InvalidRequest,
    InvalidRows,
    InvalidSettings,
    NotFound,
    QuotaExceeded,
    RowError,
    SigmafarmError,
    StorageUnavailable,
    StoreUnavailable,
    SubmitInProgress,
    TooLarge,
    UnknownModel,
    UnreadableInput,
    UnsafeServer,
)
from sigmafarm_common.records import Attempt, Batch, Counts, Job, ModelCard, WorkerInfo
from sigmafarm_common.residents import SeenModel
from sigmafarm_common.settings import OutputFormat, RenderRequest, Settings
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import QueueInfo

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> Any:
    """Read the version when it is asked for: that takes a while."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("sigmafarm")


def __dir__() -> list[str]:
    """Return what tab completion offers: the public names."""
    return [*__all__, "__version__"]


__all__ = [
    "AccessDenied",
    "AsyncFarm",
    "AsyncFarmBatch",
    "AsyncFarmJob",
    "Attempt",
    "Batch",
    "Config",
    "Conflict",
    "Counts",
    "Download",
    "Farm",
    "FarmBatch",
    "FarmJob",
    "FarmUnavailable",
    "FieldError",
    "IllegalTransition",
    "InvalidInput",
    "InvalidPicture",
    "InvalidRequest",
    "InvalidRows",
    "InvalidSettings",
    "Job",
    "JobState",
    "ModelCard",
    "NotFound",
    "OutputFormat",
    "Plan",
    "QueueInfo",
    "Quota",
    "QuotaExceeded",
    "RenderRequest",
    "RowError",
    "SeenModel",
    "Settings",
    "Sheet",
    "SigmafarmError",
    "StorageUnavailable",
    "StoreUnavailable",
    "SubmitInProgress",
    "TooLarge",
    "UnknownModel",
    "UnreadableInput",
    "UnsafeServer",
    "WorkerInfo",
]
