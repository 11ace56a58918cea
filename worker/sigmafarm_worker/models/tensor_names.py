"""A part's weights under diffusers' names: read from its files, renamed where they came under others.

The maps from the original programs' names are diffusers' own (loaders.single_file_utils), which work without a network.
Tensors stay as the file has them, in its precision, until a network takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors import safe_open
from torch import Tensor

from sigmafarm_common.model_parts import PartFiles
from sigmafarm_common.weights.content import Naming

#: What the converters expect names to begin with.
_UNET, _VAE, _OPEN_CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
#: Names of an attention's layers before diffusers 0.12, and of today.
_OLD_ATTENTION = ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0."))

Tensors = dict[str, Tensor]


def read_weights(files: PartFiles) -> Tensors:
    """Return the tensors of a part by diffusers' names. They lie in the files still: copy them to keep them."""
    tensors = _read(files)
    if files.found.naming is Naming.ORIGINAL and files.part == "unet":
        return convert_ldm_unet_checkpoint({_UNET + name: t for name, t in tensors.items()}, dict(files.config))
    if files.found.naming is Naming.ORIGINAL and files.part == "vae":
        return convert_ldm_vae_checkpoint({_VAE + name: t for name, t in tensors.items()}, dict(files.config))
    if files.found.naming is Naming.OPEN_CLIP:
        return _from_open_clip(tensors, files.config)
    return _renamed_attention(tensors) if files.part == "vae" else tensors


def _read(files: PartFiles) -> Tensors:
    """Return the part's tensors by their names in the files, less what they all begin with."""
    prefix, tensors = files.found.prefix, Tensors()
    for place in sorted(set(files.header.files.values())):
        with safe_open(place, framework="pt") as opened:
            for name in (name for name, file in files.header.files.items() if file == place):
                if name.startswith(prefix):
                    tensors[name.removeprefix(prefix)] = opened.get_tensor(name)
    return tensors


def _from_open_clip(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """Rename OpenCLIP's tensors. Its layers beyond those that count, and its projection, belong to nothing here."""
    kept = {
        _OPEN_CLIP + name: tensor
        for name, tensor in tensors.items()
        if name != "text_projection" and not _is_beyond(name, config["num_hidden_layers"])
    }
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=config["hidden_size"]))
    found = convert_open_clip_checkpoint(model, kept, prefix=_OPEN_CLIP)
    return {name.removeprefix("text_model."): tensor for name, tensor in found.items()}


def _is_beyond(name: str, num_layers: int) -> bool:
    start = "transformer.resblocks."
    return name.startswith(start) and int(name.removeprefix(start).split(".")[0]) >= num_layers


def _renamed_attention(tensors: Tensors) -> Tensors:
    """Rename what a VAE's attention was called before, and flatten the convolutions that its layers once were."""
    found = Tensors()
    for name, tensor in tensors.items():
        if ".attentions." in name:
            for old, new in _OLD_ATTENTION:
                name = name.replace(old, new)
            if tensor.ndim > 2 and name.endswith(".weight"):
                tensor = tensor.flatten(1)
        found[name] = tensor
    return found
