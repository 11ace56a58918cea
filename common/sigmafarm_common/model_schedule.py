"""Which noise levels a model was trained with: its scheduler's settings, from its files or as the file's marks say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_folder import part_folder
from sigmafarm_common.model_parts import Locate, PartFiles, inferred_config, local_place, read_json
from sigmafarm_common.models_file import ModelSpec, PartSource
from sigmafarm_common.samplers import BY_NAME, FOLLOWED, LMS_SCHEDULER, sampler_of_scheduler
from sigmafarm_common.validation import shown
from sigmafarm_common.weights.config_rules import wrong_keys
from sigmafarm_common.weights.content import find_parts
from sigmafarm_common.weights.header import read_header
from sigmafarm_common.weights.scheduler_marks import scheduler_of_file

SCHEDULER_CONFIG = "scheduler_config.json"


def find_scheduler(spec: ModelSpec, root: Path | None, unet: PartFiles, locate: Locate = local_place) -> dict[str, Any]:
    """Return the scheduler settings of a model: those of its files, then those of the models file."""
    settings, place = _scheduler_of_files(spec, root, unet, locate)
    settings |= spec.scheduler_settings
    if wrong := wrong_keys("scheduler", settings):
        raise ModelNotLoadable(f"{place}: {'; '.join(wrong)}")
    _check_class(spec, settings, place)
    return settings


def _check_class(spec: ModelSpec, settings: Mapping[str, Any], place: str) -> None:
    """Refuse noise levels that LMS cannot follow, and a sampler that is none here."""
    kind, sampler = settings.get("_class_name", LMS_SCHEDULER), sampler_of_scheduler(settings)
    if kind not in FOLLOWED and sampler is None:
        raise ModelNotLoadable(
            f"{place}: the checkpoint was made for {shown(kind)} (_class_name), whose noise levels LMS cannot follow: "
            "name a Stable Diffusion 1.x or 2.x, or a scheduler of its own in the models file"
        )
    if spec.sampler and sampler is None:
        raise ModelNotLoadable(
            f"the models file leaves the sampler to the checkpoint, but {kind} with its options is none of "
            f"{', '.join(BY_NAME)}: leave `sampler` out, or name one in the model's defaults"
        )


def _scheduler_of_files(
    spec: ModelSpec, root: Path | None, unet: PartFiles, locate: Locate
) -> tuple[dict[str, Any], str]:
    source = spec.scheduler_source
    place = locate(source.path, source, "scheduler") if source else root
    if place is not None and place.is_dir():
        return _scheduler_of_folder(spec, place, source)
    if place is not None and place.suffix == ".json":
        return _with_offset(read_json(place)), str(place)
    if place is not None:
        header = read_header(place)
        found = find_parts(header.shapes).get("unet")
        if found is None:
            raise ModelNotLoadable(f"{place} holds no UNet whose schedule could be read: name a scheduler of its own")
        return scheduler_of_file(header, found.prefix, inferred_config(spec, "unet", place, header, found)), str(place)
    if unet.is_single_file:
        return scheduler_of_file(unet.header, unet.found.prefix, unet.config), str(unet.place)
    if not spec.scheduler_settings:
        raise ModelNotLoadable("no folder holds its settings: give it a scheduler table in the models file")
    return {}, "the models file"


def _scheduler_of_folder(spec: ModelSpec, place: Path, source: PartSource | None) -> tuple[dict[str, Any], str]:
    folder = part_folder(place, source, "scheduler")
    if source is None and not folder.is_dir() and spec.scheduler_settings:
        return {}, "the models file"
    if source is None and not folder.is_dir():
        raise ModelNotLoadable(
            f"no folder holds its settings, {folder} is missing: give it a scheduler table in the models file"
        )
    return _with_offset(read_json(folder / SCHEDULER_CONFIG)), str(folder / SCHEDULER_CONFIG)


def _with_offset(settings: dict[str, Any]) -> dict[str, Any]:
    # StableDiffusionPipeline rewrites an offset of 0 in old checkpoints; equal pictures need the same.
    return {**settings, "steps_offset": 1}
