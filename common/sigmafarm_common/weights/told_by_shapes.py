"""Whether a config.json says what the weights beside it are: a network that is built larger or smaller than its weights
takes none of them, and one of a thousand million words takes all memory first.

What no shape shows (heads, sizes, activations) is not judged, nor are networks that are too uneven to be read this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.weights.config_rules import said
from sigmafarm_common.weights.content import Found, Naming
from sigmafarm_common.weights.header import Shape
from sigmafarm_common.weights.text_config import infer_text_config
from sigmafarm_common.weights.unet_config import infer_unet_config
from sigmafarm_common.weights.vae_config import infer_vae_config

#: Gives what a config.json would say of tensors with these names and shapes.
INFER: Mapping[str, Callable[[Mapping[str, Shape], Naming], dict[str, Any]]] = {
    "unet": infer_unet_config,
    "vae": infer_vae_config,
    "text_encoder": infer_text_config,
}
#: Keys that shapes show, each with what its class fills in where it is left out; None where it must be there.
_SHOWN: Mapping[str, Mapping[str, Any]] = {
    "unet": {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": None,
        "layers_per_block": 2,
        "cross_attention_dim": None,
        "use_linear_projection": False,
    },
    "vae": {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": None,
        "layers_per_block": 1,
        "use_quant_conv": True,
        "use_post_quant_conv": True,
        "mid_block_add_attention": True,
    },
    "text_encoder": {
        "hidden_size": None,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
    },
}
#: Fewer of these than there are is a way of drawing: what the last layers say is left out.
_MAY_BE_FEWER = "num_hidden_layers"


def wrong_for_weights(part: str, config: Mapping[str, Any], shapes: Mapping[str, Shape], found: Found) -> list[str]:
    """Return which keys say something else than the weights, each with its value and theirs. `shapes` are those of the
    part alone, without what `found` says all names begin with."""
    try:
        theirs = INFER[part](shapes, found.naming)
    except (ModelNotLoadable, ValueError, IndexError):
        return []  # what is missing is told by its name when it is loaded
    return list(_disagreements(_SHOWN[part], config, theirs))


def _disagreements(keys: Mapping[str, Any], config: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key, filled_in in keys.items():
        value = config.get(key, filled_in)
        if _agrees(key, value, theirs[key]):
            continue
        is_said = said(value) if key in config else f"missing, which means {said(value)}"
        yield f"{key} is {is_said}: the weights have {said(theirs[key])}; take both from one checkpoint"


def _agrees(key: str, value: Any, theirs: Any) -> bool:
    if isinstance(theirs, list):
        return list(value) == theirs
    if isinstance(value, list | tuple):
        return all(each == theirs for each in value)
    if key == _MAY_BE_FEWER:
        return value <= theirs
    return bool(value) == theirs if isinstance(theirs, bool) else value == theirs
