"""The model that comes with the worker: found without importing torch."""

from __future__ import annotations

from pathlib import Path

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.models_file import ModelSpec

#: Its name on a farm whose settings name no models file.
BUNDLED_NAME = "bundled"


def bundled_model_path() -> Path:
    """Return the folder of the bundled model. Raises ModelNotLoadable if this build comes without one."""
    folder = Path(__file__).parent / "bundled_model"
    if not (folder / "model_index.json").is_file():
        raise ModelNotLoadable(
            f"the bundled model is not in this installation ({folder}): name another model in SIGMAFARM_MODELS_FILE, "
            "or make a random one with python -m sigmafarm_worker.models.random_checkpoint FOLDER"
        )
    return folder


def bundled_spec() -> ModelSpec:
    """Return the bundled model as a models file would name it."""
    return ModelSpec(name=BUNDLED_NAME, path=str(bundled_model_path()))
