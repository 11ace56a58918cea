"""The model that comes with the worker, which must be there: found without importing torch."""

from __future__ import annotations

from pathlib import Path

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_folder import find_bundled_folder


def bundled_model_path() -> Path:
    """Return the folder of the bundled model. Raises ModelNotLoadable if this build comes without one."""
    folder = find_bundled_folder()
    if folder is None:
        raise ModelNotLoadable(
            "the bundled model is not in this installation: name another model in SIGMAFARM_MODELS_FILE, or make a "
            "random one with python -m sigmafarm_worker.models.random_checkpoint FOLDER"
        )
    return folder
