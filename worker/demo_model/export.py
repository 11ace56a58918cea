"""Put the trained parts together as a Stable Diffusion 1.x folder in half precision, with its preview map.

Only what is needed is written: no tokenizer.json, no safety checker, no feature extractor. sigmafarm.json says what the
farm alone wants to know: the model's defaults, and the linear map from latents to RGB for live previews.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModel

from demo_model.networks import SCALING_FACTOR
from demo_model.train_unet import BETA_END, BETA_START, NUM_TIMESTEPS
from demo_model.train_vae import whole

#: What a job that says nothing gets from this model.
DEFAULTS = {"width": 128, "height": 128, "num_inference_steps": 25, "guidance_scale": 5.0, "karras_sigmas": True}
#: One line for lists of models.
DESCRIPTION = "Small demo model: coloured shapes and simple scenes at 128 px, drawn in under a second on a CPU core"
#: The parts, as Stable Diffusion 1.x's pipeline names them.
MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "LMSDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export(work: Path, target: Path) -> int:
    """Write the model folder and give its size in bytes."""
    shutil.rmtree(target, ignore_errors=True)
    vae_folder = work / "vae_final" if (work / "vae_final").exists() else work / "vae"
    vae = AutoencoderKL.from_pretrained(vae_folder)
    own = {"description": DESCRIPTION, "defaults": DEFAULTS, "preview": preview_map(vae)}
    _write_json(target / "sigmafarm.json", own)
    _write_json(target / "model_index.json", MODEL_INDEX)
    vae.half().save_pretrained(target / "vae")
    UNet2DConditionModel.from_pretrained(work / "unet").half().save_pretrained(target / "unet")
    CLIPTextModel.from_pretrained(work / "text_encoder").half().save_pretrained(target / "text_encoder")
    shutil.copytree(work / "tokenizer", target / "tokenizer")
    LMSDiscreteScheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        use_karras_sigmas=True,
        steps_offset=1,
    ).save_pretrained(target / "scheduler")
    _tidy(target)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _tidy(target: Path) -> None:
    """Let everybody read the weights, and forget where the parts lay while they were trained."""
    for path in target.rglob("*.safetensors"):
        path.chmod(0o644)
    for path in target.rglob("config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)
        _write_json(path, config)


@torch.no_grad()
def preview_map(vae: AutoencoderKL) -> dict[str, list[list[float]] | list[float]]:
    """Fit the linear map from scaled latents to RGB (-1 to 1) at an eighth of the size, by least squares."""
    pictures = whole(200, 128, random.Random("preview"))
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in pictures.split(20)]) * SCALING_FACTOR
    small = F.avg_pool2d(pictures, 8)
    inputs = _columns(latents)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)  # [N, 5]
    solution = torch.linalg.lstsq(inputs, _columns(small)).solution  # [5, 3]
    rounded = [[round(value, 5) for value in row] for row in solution.tolist()]
    return {"latent_rgb_factors": rounded[:4], "latent_rgb_bias": rounded[4]}


def _columns(maps: Tensor) -> Tensor:
    """Give float64 [B h w, C] from [B, C, h, w]."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2).double()


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")
