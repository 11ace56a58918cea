"""diffusers' own scheduler in the loop of its pipelines, one picture at a time: what every sampler must equal."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor

from sigmafarm_common.samplers import BY_NAME, LMS, LMS_SCHEDULER, SAMPLERS, Sampler
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.models import Model

#: Every sampler without Karras sigmas, and with them where it has them.
VARIANTS = [(s, karras) for s in SAMPLERS for karras in ((False, True) if s.knows_karras else (False,))]


def make_scheduler(sampler: Sampler, settings: Mapping[str, Any], karras: bool) -> Any:
    """Return diffusers' scheduler of a sampler; `settings` are those of a scheduler_config.json."""
    said = {**settings, "clip_sample": False, **sampler.options, "use_karras_sigmas": karras}
    return copy.deepcopy(_constructed(sampler.scheduler or LMS_SCHEDULER, json.dumps(said)))


@cache
def _constructed(name: str, said: str) -> Any:
    kind = getattr(diffusers, name)
    known = inspect.signature(kind.__init__).parameters
    return kind(**{key: value for key, value in json.loads(said).items() if key in known})


def step_options(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    """Return the generator for schedulers that draw noise."""
    return {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}


@torch.inference_mode()
def draw_plainly(model: Model, request: RenderRequest) -> np.ndarray:
    """Return the latents [4, H, W] of a request, float32, guided as diffusers' pipelines guide."""
    assert request.num_inference_steps is not None
    assert request.guidance_scale is not None
    scheduler = make_scheduler(BY_NAME[request.sampler or LMS], model.scheduler, bool(request.karras_sigmas))
    scheduler.set_timesteps(request.num_inference_steps)
    generator = torch.Generator().manual_seed(request.seed or 0)
    options = step_options(scheduler, generator)
    texts = (request.negative_prompt or "", request.prompt)
    emb_2TD = torch.stack(model.prompts.embeddings([model.prompts.tokens(text) for text in texts]))
    low, high = request.guidance_interval or (-1, np.inf)
    x = torch.randn(1, 4, 8, 8, generator=generator) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x_in = scheduler.scale_model_input(x, t)
        if low < (scheduler.sigmas[scheduler.step_index or 0] if request.guidance_interval else 0) <= high:
            uncond, cond = _predict(model, x_in, t, emb_2TD).chunk(2)
            out = uncond + request.guidance_scale * (cond - uncond)
        else:
            out = _predict(model, x_in, t, emb_2TD[1:])
        x = scheduler.step(out, t, x, return_dict=False, **options)[0]
    return x[0].numpy()


def _predict(model: Model, x: Tensor, t: Any, emb_RTD: Tensor) -> Tensor:
    x_RCHW = x.expand(len(emb_RTD), -1, -1, -1)
    return model.unet(x_RCHW, t, encoder_hidden_states=emb_RTD, return_dict=False)[0]
