"""Render a list of prompts with a model folder: through the farm's engine, or through diffusers' own pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: Pictures in flight at a time.
BATCH = 12


@dataclass(frozen=True)
class Settings:
    """How to render; the model's own defaults unless changed."""

    num_inference_steps: int = 25
    guidance_scale: float = 5.0
    karras_sigmas: bool = True
    width: int = 128
    height: int = 128
    negative_prompt: str = ""


#: What a job gets that says nothing and whose model says nothing.
FARM_DEFAULTS = Settings(num_inference_steps=50, guidance_scale=7.5, karras_sigmas=False)


def with_engine(folder: Path, prompts: Sequence[str], settings: Settings) -> list[np.ndarray]:
    """Render through the farm's engine; picture k has seed k. Gives uint8 [H, W, 3] arrays."""
    from sigmafarm_common.settings import RenderRequest
    from sigmafarm_worker.engine import Engine
    from sigmafarm_worker.models import load_model

    engine = Engine(load_model(folder, device="cpu", dtype=torch.float32), max_images=BATCH)
    engine.start()
    try:
        fields = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
        requests = [RenderRequest(prompt=prompt, seed=k, **fields) for k, prompt in enumerate(prompts)]
        futures = [engine.submit(request) for request in requests]
        return [future.result().pixels for future in futures]
    finally:
        engine.stop()


def load_pipeline(folder: Path) -> Any:
    """Load the folder with diffusers, quietly."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def with_pipeline(pipeline: Any, prompts: Sequence[str], settings: Settings) -> list[np.ndarray]:
    """Render through diffusers; picture k has seed k."""
    from diffusers import LMSDiscreteScheduler

    config = dict(pipeline.scheduler.config) | {"use_karras_sigmas": settings.karras_sigmas}
    pictures: list[np.ndarray] = []
    for first in range(0, len(prompts), BATCH):
        part = list(prompts[first : first + BATCH])
        pipeline.scheduler = LMSDiscreteScheduler.from_config(config)
        output = pipeline(
            part,
            negative_prompt=[settings.negative_prompt] * len(part),
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            width=settings.width,
            height=settings.height,
            generator=[torch.Generator("cpu").manual_seed(first + k) for k in range(len(part))],
            output_type="np",
        ).images
        pictures += list((output * 255).round().astype(np.uint8))
    return pictures


def own_defaults(**changes: Any) -> Settings:
    """Give the model's own defaults with some settings changed."""
    return replace(Settings(), **changes)
