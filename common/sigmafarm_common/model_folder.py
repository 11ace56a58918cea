"""What a checkpoint folder says of itself, read without torch: where its parts lie, and what it draws best with.

The producer, the doctor and the worker ask here. A folder is in diffusers' format, and may carry a file of ours beside
that (OWN_SETTINGS_FILE). Nothing here raises for a folder that is not what it should be: whoever needs more says so.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sigmafarm_common.models_file import ModelSpec, PartSource
from sigmafarm_common.records import ModelCard
from sigmafarm_common.samplers import sampler_of_scheduler

#: The file that makes a folder a whole checkpoint, and the one with its scheduler's settings.
INDEX_FILE, SCHEDULER_FILE = "model_index.json", "scheduler/scheduler_config.json"
#: What a checkpoint folder may say about itself, beside the diffusers files.
OWN_SETTINGS_FILE = "sigmafarm.json"
#: Suffixes of weights that could run code when they are read.
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
#: Pixels of a picture for one of the UNet's latents.
PIXELS_PER_LATENT = 8
#: The package that the bundled model comes with, which is looked for and never imported, and the model's name.
WORKER_PACKAGE, BUNDLED_NAME = "sigmafarm_worker", "bundled"

_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def find_bundled_folder() -> Path | None:
    """Return the folder of the model that comes with the worker, None if this build has none."""
    package = importlib.util.find_spec(WORKER_PACKAGE)
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "bundled_model"
    return folder if (folder / INDEX_FILE).is_file() else None


def bundled_spec(folder: Path) -> ModelSpec:
    """Return the bundled model as a models file would name it."""
    return ModelSpec(name=BUNDLED_NAME, path=str(folder))


def is_hub_name(place: str) -> bool:
    """Whether a place that is no folder here may be a repository of the hub."""
    return _HUB_NAME.match(place) is not None


def part_folder(place: Path, source: PartSource | None, part: str) -> Path:
    """Return where a part lies: in its subfolder of the checkpoint, or in its own place if it is named apart."""
    if source is None:
        return place / part
    if source.subfolder is not None:
        return place / source.subfolder
    return place / part if (place / part).is_dir() else place


def has_words(folder: Path) -> bool:
    """Whether a tokenizer's folder has its vocabulary."""
    return (
        all((folder / name).is_file() for name in ("vocab.json", "merges.txt")) or (folder / "tokenizer.json").is_file()
    )


def pickles_in(folder: Path) -> list[str]:
    """Return the names of weights that nobody reads, because they could run code."""
    return [file.name for file in sorted(folder.iterdir()) if file.suffix in PICKLES]


def card_of(spec: ModelSpec) -> ModelCard:
    """Return what can be known of a model without loading it: the spec's word over the checkpoint's own."""
    card = spec.card()
    own = _read_json(Path(spec.path or "", OWN_SETTINGS_FILE))
    size = {"height": side, "width": side} if (side := native_side_px(spec)) else {}
    config = {**_read_json(Path(spec.path or "", SCHEDULER_FILE)), **(spec.scheduler or {})}
    defaults = {**size, **own.get("defaults", {}), **sampler_defaults(spec, config), **card.defaults}
    return ModelCard(name=spec.name, defaults=defaults, description=card.description or own.get("description", ""))


def sampler_defaults(spec: ModelSpec, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the sampler that a model's scheduler_config.json names, if its spec leaves that to it and there is one."""
    sampler = sampler_of_scheduler(config) if spec.sampler else None
    return {"sampler": sampler.name} if sampler else {}


def native_side_px(spec: ModelSpec) -> int | None:
    """Return the side of the pictures that a model was trained on, if its UNet's folder is on this machine."""
    place = Path(spec.unet.path if spec.unet else spec.path or "")
    sample_size = _read_json(part_folder(place, spec.unet, "unet") / "config.json").get("sample_size")
    return sample_size * PIXELS_PER_LATENT if isinstance(sample_size, int) else None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
