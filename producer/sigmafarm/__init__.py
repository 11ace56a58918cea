"""sigmafarm: a render farm for Stable Diffusion. These are its public names; everything else may change.

from sigmafarm import Farm, RenderRequest

farm = Farm.from_env()
batch = farm.submit(["a lighthouse at dawn", RenderRequest(prompt="a red barn", seed=4)], name="first")
batch.wait(progress=True)
batch.download("out/")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        """Import what is asked for when it is: all of it takes a third of a second, and `sigmafarm status` needs none
        of it."""
        if name == "__version__":
            from importlib.metadata import version

            return version("sigmafarm")
        place = next((place for place, names in _PLACES.items() if name in names), None)
        if place is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(place), name)
        return found


#: Where the public names stand.
_PLACES = {
    "sigmafarm.batch": ("FarmBatch",),
    "sigmafarm.download": ("Download",),
    "sigmafarm.farm": ("Farm",),
    "sigmafarm_common.config": ("Config",),
    "sigmafarm_common.errors": (
        "AccessDenied",
        "Conflict",
        "FarmUnavailable",
        "FieldError",
        "IllegalTransition",
        "InvalidInput",
        "InvalidPicture",
        "InvalidRequest",
        "InvalidRows",
        "InvalidSettings",
        "NotFound",
        "RowError",
        "SigmafarmError",
        "StorageUnavailable",
        "StoreUnavailable",
        "SubmitInProgress",
        "UnknownModel",
        "UnreadableInput",
        "UnsafeServer",
    ),
    "sigmafarm_common.records": (
        "Attempt",
        "Batch",
        "Counts",
        "Job",
        "ModelCard",
        "WorkerInfo",
    ),
    "sigmafarm_common.settings": (
        "OutputFormat",
        "RenderRequest",
        "Settings",
    ),
    "sigmafarm_common.states": ("JobState",),
}

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
