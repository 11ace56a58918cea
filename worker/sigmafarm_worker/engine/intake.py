"""A request becomes a slot: settings resolved and checked, prompts tokenised, the sampler's table and the noise made.

All the host's work for one job, done in the thread that submits, so that the engine's thread has none of it. An error
here belongs to this job alone.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import OnStep, Rendered
from sigmafarm_worker.engine.cut_prompts import tell_cuts
from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.models import LATENT_CHANNELS, Model
from sigmafarm_worker.sampling.lms import MAX_ORDER
from sigmafarm_worker.sampling.lookup import find_table
from sigmafarm_worker.sampling.table import Table


def make_slot(model: Model, request: RenderRequest, future: Future[Rendered], on_step: OnStep | None) -> Slot:
    """Return the slot of a request. Raises InvalidRequest or InvalidSettings with value and cure."""
    request = request.resolved({"model": model.name}, model.defaults)
    height, width = _checked_size(model, request)
    table = _table(model, request)
    guided = _guided(table, request)
    assert request.seed is not None
    generator = torch.Generator("cpu").manual_seed(request.seed)
    prompt = model.prompts.tokens(request.prompt)
    negative = model.prompts.tokens(request.negative_prompt or "") if guided.any() else None
    return Slot(
        key=LaneKey(model.name, height, width),
        request=request,
        future=future,
        on_step=on_step,
        prompt=prompt,
        negative=negative,
        warnings=tell_cuts(prompt, negative),
        table=table,
        guided=guided,
        noise=initial_noise(generator, height // model.vae_factor, width // model.vae_factor),
        generator=generator,
    )


def with_order(model: Model, slot: Slot, order: int) -> Slot:
    """Return a slot of LMS to be drawn anew with another order: from the same noise, which LMS adds nothing to."""
    request = slot.request.model_copy(update={"lms_order": order})
    table = _table(model, request)
    return replace(slot, request=request, table=table, guided=_guided(table, request))


def initial_noise(generator: torch.Generator, latent_height: int, latent_width: int) -> Tensor:
    """Return standard normal latents [4, H, W], drawn on the CPU in float32 from a job's own generator.

    The same values as diffusers' pipeline draws from torch.Generator("cpu") in float32. (Its fp16 pipeline draws in
    fp16: other values.)
    """
    return torch.randn(1, LATENT_CHANNELS, latent_height, latent_width, generator=generator)[0]


def _table(model: Model, request: RenderRequest) -> Table:
    assert request.num_inference_steps is not None
    assert request.sampler is not None
    return find_table(
        request.sampler,
        request.num_inference_steps,
        model.scheduler,
        karras_sigmas=bool(request.karras_sigmas),
        lms_order=request.lms_order or MAX_ORDER,
    )


def _guided(table: Table, request: RenderRequest) -> NDArray[np.bool_]:
    """Return for each call whether it is guided: with a scale above 1, and within the interval if there is one
    (Kynkaanniemi et al. 2024: not at its lower end, but at its upper)."""
    low, high = request.guidance_interval or (-np.inf, np.inf)
    is_guided = request.guidance_scale is not None and request.guidance_scale > 1
    return is_guided & (low < table.sigmas) & (table.sigmas <= high)


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
