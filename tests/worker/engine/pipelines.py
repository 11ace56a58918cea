"""diffusers' three pipelines, to draw the same request with."""

from __future__ import annotations

import inspect
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline
from diffusers.utils import logging
from PIL import Image

from sigmafarm_common.samplers import BY_NAME, LMS, LMS_SCHEDULER
from sigmafarm_common.settings import RenderRequest


def draw_theirs(
    folder: Path,
    request: RenderRequest,
    init_image: np.ndarray | None = None,
    mask_image: np.ndarray | None = None,
    *,
    prompts: list[str] | None = None,
    output_type: str = "latent",
    **options: Any,
) -> np.ndarray:
    """Return the latents [B, 4, H, W] that diffusers' pipeline for such a request comes to (or pictures, for "pil"),
    one for each of the prompts of one call; without them, of the request's own."""
    assert request.width
    assert request.height
    pictures: dict[str, Any] = {}
    kind: Any = StableDiffusionPipeline
    if init_image is not None:
        kind = StableDiffusionImg2ImgPipeline
        pictures = {
            "image": Image.fromarray(init_image),
            "strength": 0.8 if request.strength is None else request.strength,
        }
    if mask_image is not None:
        kind = StableDiffusionInpaintPipeline
        pictures["mask_image"] = Image.fromarray(mask_image)
    if kind is not StableDiffusionImg2ImgPipeline:
        pictures |= {"height": request.height, "width": request.width}
    pipe = _pipeline(kind, folder)
    pipe.scheduler = _scheduler(pipe, request)
    negative = request.negative_prompt
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # one picture for several prompts
        found = pipe(
            prompts or request.prompt,
            negative_prompt=[negative] * len(prompts) if prompts and negative else negative,
            num_inference_steps=request.num_inference_steps or 50,
            guidance_scale=7.5 if request.guidance_scale is None else request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed or 0),
            output_type=output_type,
            **pictures,
            **options,
        ).images
    return found.numpy() if output_type == "latent" else np.asarray(found[0])


@cache
def _pipeline(kind: Any, folder: Path) -> Any:
    logging.disable_progress_bar()
    whole = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipe = kind(**whole.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _scheduler(pipe: Any, request: RenderRequest) -> Any:
    sampler = BY_NAME[request.sampler or LMS]
    kind: Any = getattr(diffusers, sampler.scheduler or LMS_SCHEDULER)
    karras = bool(request.karras_sigmas)
    said = {**pipe.scheduler.config, "clip_sample": False, **sampler.options, "use_karras_sigmas": karras}
    known = inspect.signature(kind.__init__).parameters
    return kind(**{key: value for key, value in said.items() if key in known})
