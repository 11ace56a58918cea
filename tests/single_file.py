"""Writes a folder in diffusers' format as one .safetensors file in the names of the original programs, as model sites
hand them out: the way back from what the worker does, written apart from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]

_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_RESNET = {
    ".norm1.": ".in_layers.0.",
    ".conv1.": ".in_layers.2.",
    ".time_emb_proj.": ".emb_layers.1.",
    ".norm2.": ".out_layers.0.",
    ".conv2.": ".out_layers.3.",
    ".conv_shortcut.": ".skip_connection.",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def write_single_file(
    folder: Path,
    file: Path,
    *,
    is_second: bool = False,
    metadata: Mapping[str, str] | None = None,
    more: Tensors | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write the UNet, VAE and text encoder of a folder into one file and return its path. `is_second` takes OpenCLIP's
    names for the text encoder, with the layer and the projection that nobody uses; `more` is added as it is."""
    unet, vae, text = (read_part(folder / part) for part in ("unet", "vae", "text_encoder"))
    config = json.loads((folder / "unet" / "config.json").read_text())
    tensors = {"model.diffusion_model." + name: t for name, t in original_unet(unet, config).items()}
    tensors |= {"first_stage_model." + name: t for name, t in original_vae(vae).items()}
    if is_second:
        tensors |= {"cond_stage_model.model." + name: t for name, t in open_clip(text).items()}
    else:
        tensors |= {"cond_stage_model.transformer.text_model." + name: t for name, t in text.items()}
        tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    tensors["alphas_cumprod"] = torch.ones(1000)  # what training leaves in such files
    kept = {name: (t.to(dtype) if dtype and t.is_floating_point() else t).contiguous() for name, t in tensors.items()}
    save_file({**kept, **(more or {})}, file, metadata=dict(metadata or {}) or None)
    return file


def read_part(folder: Path) -> Tensors:
    """Return a part's tensors, a text encoder's without the prefix that some versions write."""
    (file,) = folder.glob("*.safetensors")
    return {name.removeprefix("text_model."): tensor for name, tensor in load_file(file).items()}


def original_unet(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """Rename a UNet's tensors as CompVis' program has them."""
    blocks = _UNET_ENDS | _numbered_blocks(len(config["block_out_channels"]), config["layers_per_block"], tensors)
    found = Tensors()
    for name, tensor in tensors.items():
        start = next(key for key in sorted(blocks, key=len, reverse=True) if name.startswith(key + "."))
        rest = name.removeprefix(start)
        if ".resnets." in name:
            for new, old in _RESNET.items():
                rest = rest.replace(new, old)
        found[blocks[start] + rest] = tensor
    return found


def _numbered_blocks(num_levels: int, num_layers: int, tensors: Tensors) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 1
    for level in range(num_levels):
        for layer in range(num_layers):
            found[f"down_blocks.{level}.resnets.{layer}"] = f"input_blocks.{at}.0"
            found[f"down_blocks.{level}.attentions.{layer}"] = f"input_blocks.{at}.1"
            at += 1
        found[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{at}.0.op"
        at += 1
    at = 0
    for level in range(num_levels):
        has_attention = any(name.startswith(f"up_blocks.{level}.attentions") for name in tensors)
        for layer in range(num_layers + 1):
            found[f"up_blocks.{level}.resnets.{layer}"] = f"output_blocks.{at}.0"
            found[f"up_blocks.{level}.attentions.{layer}"] = f"output_blocks.{at}.1"
            at += 1
        place = 2 if has_attention else 1
        found[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{at - 1}.{place}.conv"
    return found


def original_vae(tensors: Tensors) -> Tensors:
    """Rename a VAE's tensors as CompVis' program has them; its attention is made of convolutions there."""
    num_levels = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("decoder.up_blocks."))
    found = Tensors()
    for name, tensor in tensors.items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
        name = re.sub(r"up_blocks\.(\d+)\.", lambda m: f"up.{num_levels - 1 - int(m.group(1))}.", name)
        name = name.replace(".resnets.0.", ".block.0.") if "mid_block" not in name else name
        name = re.sub(r"(up\.\d+)\.resnets\.(\d+)\.", r"\1.block.\2.", name)
        name = name.replace(".upsamplers.0.", ".upsample.").replace("conv_shortcut", "nin_shortcut")
        name = name.replace("conv_norm_out", "norm_out")
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m.group(1)) + 1}", name)
        if "mid_block.attentions.0." in name:
            for new, old in _VAE_ATTENTION.items():
                name = name.replace(f".{new}.", f".{old}.")
            name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        found[name] = tensor
    return found


def old_vae(tensors: Tensors) -> Tensors:
    """Rename a VAE's attention as diffusers had it before version 0.12."""
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    found = Tensors()
    for name, tensor in tensors.items():
        for new, old in names.items():
            name = name.replace(new, old) if ".attentions." in name else name
        found[name] = tensor
    return found


def open_clip(tensors: Tensors) -> Tensors:
    """Rename a text encoder's tensors as OpenCLIP has them, with one more layer and a projection."""
    found = {
        "token_embedding.weight": tensors["embeddings.token_embedding.weight"],
        "positional_embedding": tensors["embeddings.position_embedding.weight"],
        "ln_final.weight": tensors["final_layer_norm.weight"],
        "ln_final.bias": tensors["final_layer_norm.bias"],
        "logit_scale": torch.tensor(4.6),
    }
    width = found["token_embedding.weight"].shape[1]
    found["text_projection"] = torch.randn(width, width, generator=torch.Generator().manual_seed(1))
    layers = {int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layers.")}
    for layer in sorted(layers):
        found |= _open_clip_layer(tensors, f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}.")
    last = f"transformer.resblocks.{max(layers)}."
    spare = {name: t for name, t in found.items() if name.startswith(last)}
    return found | {name.replace(last, f"transformer.resblocks.{len(layers)}."): t + 1 for name, t in spare.items()}


def _open_clip_layer(tensors: Tensors, start: str, new_start: str) -> Tensors:
    found = {
        f"{new_start}{old}.{kind}": tensors[f"{start}{new}.{kind}"]
        for new, old in _OPEN_CLIP.items()
        for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):
        three = [tensors[f"{start}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
        found[f"{new_start}attn.in_proj_{kind}"] = torch.cat(three)
    return found
