"""From settings to an engine: the one place at which a worker process meets torch."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from sigmafarm_common.config import Config
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import load_model


def make_engine(config: Config, device: str, specs: Mapping[str, ModelSpec]) -> Engine:
    """Load every model onto the device. Raises ModelNotLoadable for the first that cannot be."""
    torch.set_num_threads(config.num_threads or os.cpu_count() or 1)
    models = {name: load_model(spec, device=device) for name, spec in specs.items()}
    return Engine(models, config.max_images)
