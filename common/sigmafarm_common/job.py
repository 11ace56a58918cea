"""The public names of settings.py and records.py at the address that programs know."""

from sigmafarm_common.records import Attempt, Batch, Counts, Job, ModelCard, WorkerInfo
from sigmafarm_common.settings import OutputFormat, RenderRequest, Settings

__all__ = ["Attempt", "Batch", "Counts", "Job", "ModelCard", "OutputFormat", "RenderRequest", "Settings", "WorkerInfo"]
