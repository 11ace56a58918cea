"""What a single file says of its noise schedule: what its UNet predicts, and whether training ended in pure noise.

The first of these that is there counts; the models file goes before all of them:

1. the metadata: `modelspec.prediction_type` (`epsilon`, `v`), `ss_v_parameterization`, `modelspec.architecture` that
   ends in `-v`, `-512` or `-base`;
2. the tensors `v_pred` and `ztsnr`, by which trainers mark a checkpoint;
3. 1.x, and every inpainting model, predicts noise;
4. of 2.x, one bias: it scatters widely (a standard deviation above 0.09) where v is predicted. ComfyUI tells them apart
   by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sigmafarm_common.weights.config_rules import MAX_SAMPLE_SIZE
from sigmafarm_common.weights.header import Header
from sigmafarm_common.weights.unet_config import LARGE_SAMPLE_SIZE, LATENT_CHANNELS, SAMPLE_SIZE

#: The bias that scatters, by its name behind the UNet's prefix in either naming, and the limit.
TELLING_BIASES = (
    "output_blocks.11.1.transformer_blocks.0.norm1.bias",
    "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias",
)
V_SCATTER = 0.09
#: What all of Stable Diffusion 1.x and 2.x were trained with, as their folders say it.
BASE: Mapping[str, Any] = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "clip_sample": False,
}
#: Pixels of a picture for one latent along a side.
PIXELS_PER_LATENT = 8
_RESOLUTION = re.compile(r"^(\d{2,4})x(\d{2,4})$")
_SAID = {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon", "eps": "epsilon"}


def scheduler_of_file(header: Header, prefix: str, unet: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scheduler settings of a checkpoint in one file, named as in scheduler_config.json.

    `prefix` is what its UNet's tensors begin with, `unet` its configuration.
    """
    settings = dict(BASE)
    settings["prediction_type"] = _said(header) or _guessed(header, prefix, unet)
    if _is_marked(header, "ztsnr") or header.metadata.get("ss_zero_terminal_snr", "").lower() == "true":
        settings |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return settings


def native_sample_size(header: Header, unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> int | list[int]:
    """Return the latents along a side that a UNet in one file was trained on: as its metadata says it, else by family:
    96 for 2.x that predicts v, 64 for all others."""
    said = _RESOLUTION.match(header.metadata.get("modelspec.resolution", ""))
    if said:
        width, height = (int(side) // PIXELS_PER_LATENT for side in said.groups())
        if min(width, height) > 0 and max(width, height) <= MAX_SAMPLE_SIZE:
            return height if height == width else [height, width]
    is_large = unet.get("use_linear_projection") and scheduler.get("prediction_type") == "v_prediction"
    return LARGE_SAMPLE_SIZE if is_large else SAMPLE_SIZE


def _said(header: Header) -> str | None:
    noted = header.metadata
    if said := _SAID.get(noted.get("modelspec.prediction_type", "").lower()):
        return said
    if noted.get("ss_v_parameterization", "").lower() in ("true", "false"):
        return "v_prediction" if noted["ss_v_parameterization"].lower() == "true" else "epsilon"
    architecture = noted.get("modelspec.architecture", "").lower().split("/")[0]
    if architecture.startswith("stable-diffusion-v"):
        if architecture.endswith("-v"):
            return "v_prediction"
        if architecture.endswith(("-512", "-base")):
            return "epsilon"
    return "v_prediction" if _is_marked(header, "v_pred") else None


def _guessed(header: Header, prefix: str, unet: Mapping[str, Any]) -> str:
    if not unet.get("use_linear_projection") or unet.get("in_channels") != LATENT_CHANNELS:
        return "epsilon"
    return "v_prediction" if _scatter(header, prefix) > V_SCATTER else "epsilon"


def _scatter(header: Header, prefix: str) -> float:
    """Return the standard deviation of the bias that tells v prediction, 0 where there is none."""
    for name in (prefix + bias for bias in TELLING_BIASES):
        if numbers := header.numbers(name) if name in header.shapes else []:
            mean = sum(numbers) / len(numbers)
            return (sum((number - mean) ** 2 for number in numbers) / len(numbers)) ** 0.5
    return 0.0


def _is_marked(header: Header, mark: str) -> bool:
    return any(name == mark or name.endswith(f".{mark}") for name in header.shapes)
