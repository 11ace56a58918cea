"""sigmafarm: a render farm for Stable Diffusion. These are its public names; everything else may change.

from sigmafarm import Farm, RenderRequest

farm = Farm.from_env()
batch = farm.submit(["a lighthouse at dawn", RenderRequest(prompt="a red barn", seed=4)], name="first")
batch.wait(progress=True)
batch.download("out/")
"""

from typing import TYPE_CHECKING, Any

from sigmafarm.batch import FarmBatch
from sigmafarm.download import Download
from sigmafarm.farm import Farm
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
    RowError,
    SigmafarmError,
    StorageUnavailable,
    StoreUnavailable,
    SubmitInProgress,
    UnknownModel,
    UnreadableInput,
    UnsafeServer,
)
from sigmafarm_common.records import Attempt, Batch, Counts, Job, ModelCard, WorkerInfo
from sigmafarm_common.settings import OutputFormat, RenderRequest, Settings
from sigmafarm_common.states import JobState

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> Any:
    """Read the version when it is asked for: that takes a while."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("sigmafarm")


__all__ = [
    "AccessDenied",
    "Attempt",
    "Batch",
    "Config",
    "Conflict",
    "Counts",
    "Download",
    "Farm",
    "FarmBatch",
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
    "RenderRequest",
    "RowError",
    "Settings",
    "SigmafarmError",
    "StorageUnavailable",
    "StoreUnavailable",
    "SubmitInProgress",
    "UnknownModel",
    "UnreadableInput",
    "UnsafeServer",
    "WorkerInfo",
]
