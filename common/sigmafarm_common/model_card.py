"""What a producer needs to know of a model, found without loading it: its settings, its parts, or what is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_fit import check_embeddings, check_fit, native_size_px
from sigmafarm_common.model_folder import is_hub_name, part_folder
from sigmafarm_common.model_parts import (
    NETWORKS,
    NotHere,
    find_part,
    find_root,
    find_words,
    local_place,
    read_json,
    read_own_settings,
)
from sigmafarm_common.model_schedule import find_scheduler
from sigmafarm_common.models_file import PARTS, ModelSpec
from sigmafarm_common.records import ModelCard
from sigmafarm_common.samplers import sampler_of_scheduler
from sigmafarm_common.weights.config_rules import RULES
from sigmafarm_common.weights.scheduler_marks import PIXELS_PER_LATENT

#: What a tokenizer is called that comes with the worker.
CLIP_WORDS = "CLIP's own"


def card_of(spec: ModelSpec) -> ModelCard:
    """Return what can be known of a model without loading it: the spec's word over the checkpoint's own.

    A model that is broken has a card too, which says so.
    """
    try:
        return _whole_card(spec)
    except NotHere:
        return spec.card().model_copy(update={"parts": part_names(spec)})
    except ModelNotLoadable as error:
        card, problem = spec.card(), told_afar(spec, error)
        defaults = {**_size_alone(spec), **card.defaults}
        return card.model_copy(update={"parts": part_names(spec), "problem": problem, "defaults": defaults})


def _size_alone(spec: ModelSpec) -> Mapping[str, int]:
    """Return the native size as the UNet's folder alone says it: all that a machine without the weights can know."""
    try:
        place = local_place(spec.unet.path if spec.unet else spec.path or "")
        config = read_json(part_folder(place, spec.unet, "unet") / "config.json")
    except ModelNotLoadable:
        return {}
    size = config.get("sample_size")
    if not isinstance(size, int) or isinstance(size, bool) or not RULES["unet"]["sample_size"].fits(size):
        return {}
    return {"height": size * PIXELS_PER_LATENT, "width": size * PIXELS_PER_LATENT}


def _whole_card(spec: ModelSpec) -> ModelCard:
    root = find_root(spec)
    parts = {part: find_part(spec, root, part) for part in NETWORKS}
    check_fit(parts)
    find_words(spec, root)
    check_embeddings(spec)
    config, own = find_scheduler(spec, root, parts["unet"]), read_own_settings(root)
    defaults = {
        **native_size_px(parts),
        **own.get("defaults", {}),
        **sampler_defaults(spec, config),
        **spec.card().defaults,
    }
    return ModelCard(
        name=spec.name,
        defaults=defaults,
        description=spec.description or own.get("description", ""),
        aliases=spec.aliases,
        parts=part_names(spec),
        prediction_type=config.get("prediction_type", "epsilon"),
        is_zero_snr=bool(config.get("rescale_betas_zero_snr")),
    )


def sampler_defaults(spec: ModelSpec, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the sampler that a model's scheduler_config.json names, if its spec leaves that to it and there is one."""
    sampler = sampler_of_scheduler(config) if spec.sampler else None
    return {"sampler": sampler.name} if sampler else {}


def part_names(spec: ModelSpec) -> Mapping[str, str]:
    """Return for each part what its place is called: a hub name, or the last names of a path. No folder of this
    machine is told."""
    places = {part: getattr(spec, part).path if getattr(spec, part) else spec.path or "" for part in PARTS}
    source = spec.scheduler_source
    places["scheduler"] = source.path if source else spec.path or ("" if spec.scheduler_settings else places["unet"])
    named = {part: _named(place) for part, place in places.items()}
    if named["tokenizer"].endswith(".safetensors"):
        named["tokenizer"] = CLIP_WORDS
    return {part: name or "the models file" for part, name in named.items()}


def told_afar(spec: ModelSpec, problem: object) -> str:
    """Return what is wrong with a model as it may be told to whoever asks: the places of the models file by their last
    names, every other path of this machine by its last two."""
    text = str(problem)
    sources = [getattr(spec, part) for part in PARTS] + [spec.scheduler_source]
    places = {source.path for source in sources if source} | {spec.path or ""}
    for place in sorted(places, key=len, reverse=True):
        for written in {place, os.path.expanduser(place)}:  # of a home that nobody has it is the place itself
            if Path(written).is_absolute():
                text = text.replace(written, Path(written).name)
    return " ".join(_shortened(word) for word in text.split(" "))


def _shortened(word: str) -> str:
    bare = word.strip("'\"(),;:")
    return word.replace(bare, "/".join(Path(bare).parts[-2:])) if bare.startswith("/") else word


def _named(place: str) -> str:
    return place if is_hub_name(place) and not Path(place).exists() else Path(place).name
