"""A request becomes a slot: settings resolved and checked, prompts tokenised, schedule and noise made.

All the host's work for one job, done in the thread that submits, so that the engine's thread has none of it. An error
here belongs to this job alone.
"""

from __future__ import annotations

from concurrent.futures import Future

import torch
from torch import Tensor

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import OnStep, Rendered
from sigmafarm_worker.engine.lane import MAX_STEPS
from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.models import LATENT_CHANNELS, Model
from sigmafarm_worker.sampling.lms import Schedule


def make_slot(model: Model, request: RenderRequest, future: Future[Rendered], on_step: OnStep | None) -> Slot:
    """Return the slot of a request. Raises InvalidRequest or InvalidSettings with value and cure."""
    request = request.resolved({"model": model.name}, model.defaults)
    height, width = _checked_size(model, request)
    is_guided = request.guidance_scale is not None and request.guidance_scale > 1
    assert request.seed is not None
    return Slot(
        key=LaneKey(model.name, height, width),
        request=request,
        future=future,
        on_step=on_step,
        prompt=model.prompts.tokens(request.prompt),
        negative=model.prompts.tokens(request.negative_prompt or "") if is_guided else None,
        schedule=_schedule(model, request),
        noise=initial_noise(request.seed, height // model.vae_factor, width // model.vae_factor),
    )


def initial_noise(seed: int, latent_height: int, latent_width: int) -> Tensor:
    """Return standard normal latents [4, H, W], drawn on the CPU in float32 from a generator of their own.

    The same values as diffusers' pipeline draws from torch.Generator("cpu") in float32. (Its fp16 pipeline draws in
    fp16: other values.)
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(1, LATENT_CHANNELS, latent_height, latent_width, generator=generator)[0]


def _schedule(model: Model, request: RenderRequest) -> Schedule:
    assert request.num_inference_steps is not None
    assert request.lms_order is not None
    if request.num_inference_steps > MAX_STEPS:
        message = f"num_inference_steps is {request.num_inference_steps}: must be at most {MAX_STEPS}"
        raise InvalidRequest([FieldError("num_inference_steps", message)])
    return Schedule.make(
        request.num_inference_steps,
        lms_order=request.lms_order,
        karras_sigmas=request.karras_sigmas,
        **{k: v for k, v in model.scheduler.items() if k not in ("num_inference_steps", "lms_order", "karras_sigmas")},
    )


def _checked_size(model: Model, request: RenderRequest) -> tuple[int, int]:
    """Return height and width in pixels; a model's VAE may be coarser than the eight pixels that a request allows."""
    assert request.height is not None
    assert request.width is not None
    factor, errors = model.vae_factor, list[FieldError]()
    for name, value in (("height", request.height), ("width", request.width)):
        if value % factor:
            near = value // factor * factor
            cure = (
                f"must be a multiple of {factor} for model {model.name!r}; nearest {near or factor} or {near + factor}"
            )
            errors.append(FieldError(name, f"{name} is {value}: {cure}"))
    if errors:
        raise InvalidRequest(errors)
    return request.height, request.width
