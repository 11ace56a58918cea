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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigmafarm.aio import AsyncFarm, AsyncFarmBatch, AsyncFarmJob
    from sigmafarm.batch import FarmBatch
    from sigmafarm.download import Download
    from sigmafarm.farm import Farm
    from sigmafarm.job import FarmJob
    from sigmafarm.reports import Report
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
        RecordsLost,
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
    "sigmafarm.aio": ("AsyncFarm", "AsyncFarmBatch", "AsyncFarmJob"),
    "sigmafarm.batch": ("FarmBatch",),
    "sigmafarm.download": ("Download",),
    "sigmafarm.farm": ("Farm",),
    "sigmafarm.job": ("FarmJob",),
    "sigmafarm.reports": ("Report",),
    "sigmafarm.sheets": ("Sheet",),
    "sigmafarm.submission": ("Plan", "Quota"),
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
        "QuotaExceeded",
        "RecordsLost",
        "RowError",
        "SigmafarmError",
        "StorageUnavailable",
        "StoreUnavailable",
        "SubmitInProgress",
        "TooLarge",
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
    "sigmafarm_common.residents": ("SeenModel",),
    "sigmafarm_common.settings": (
        "OutputFormat",
        "RenderRequest",
        "Settings",
    ),
    "sigmafarm_common.states": ("JobState",),
    "sigmafarm_common.store.values": ("QueueInfo",),
}


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
    "RecordsLost",
    "RenderRequest",
    "Report",
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
