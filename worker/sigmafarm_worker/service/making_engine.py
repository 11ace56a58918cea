"""From settings to an engine: the one place at which a worker process meets torch."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from sigmafarm_common.config import Config
from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.failures import is_broken, is_out_of_memory
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.service.cores import usable_cores
from sigmafarm_worker.service.usable_device import check_usable
from sigmafarm_worker.telling import first_line, tell

#: Where torch keeps what it has compiled, for the next start.
COMPILED = "TORCHINDUCTOR_CACHE_DIR"


def make_engine(config: Config, device: str, specs: Mapping[str, ModelSpec]) -> Engine:
    """Load every model onto the device; one that cannot be loaded keeps no other from serving, and the engine says why
    (`broken`). Raises DeviceUnusable, and ModelNotLoadable, with what is wrong with each, if there is none left."""
    torch.set_num_threads(config.num_threads or usable_cores())
    torch.backends.cudnn.benchmark = config.tune_convolutions
    check_usable(device)
    models: dict[str, Model] = {}
    broken: dict[str, str] = {}
    for name, spec in specs.items():
        try:
            models[name] = load_model(spec, device=device)
        except Exception as error:  # whatever is wrong with one model is its own affair
            if is_broken(error):
                raise  # the device, not the model
            broken[name] = _said(name, device, error)
            tell("error", "model cannot be loaded", model=name, problem=broken[name])
    if not models:
        raise ModelNotLoadable("; ".join(broken.values()))
    os.environ.setdefault(COMPILED, str(config.data_dir / "compiled"))
    return Engine(models, config.max_images, broken=broken, is_compiled=config.compile_unet)


def _said(name: str, device: str, error: Exception) -> str:
    if isinstance(error, ModelNotLoadable):
        return str(error)
    if is_out_of_memory(error):
        return (
            f"model {name!r}: {device} has no memory left for it ({first_line(error)}): serve it from a worker of its "
            "own, or take another model out of the models file"
        )
    return (
        f"model {name!r} cannot be loaded ({type(error).__name__}: {first_line(error)}): fetch its files again; if "
        "that does not help, tell the makers of this program"
    )
