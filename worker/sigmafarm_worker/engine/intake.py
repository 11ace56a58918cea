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
from sigmafarm_common.settings import PromptSyntax, RenderRequest
from sigmafarm_worker.drawing_engine import OnStep, Rendered
from sigmafarm_worker.engine.cut_prompts import tell_cuts
from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.models import LATENT_CHANNELS, Model
from sigmafarm_worker.models.reading import Tokens
from sigmafarm_worker.sampling.lms import MAX_ORDER
from sigmafarm_worker.sampling.lookup import find_table
from sigmafarm_worker.sampling.table import Table

#: Chunks of a prompt that a job may have: every row of its lane pays for the longest one.
MAX_CHUNKS = 16


def make_slot(model: Model, request: RenderRequest, future: Future[Rendered], on_step: OnStep | None) -> Slot:
    """Return the slot of a request. Raises InvalidRequest or InvalidSettings with value and cure."""
    request = request.resolved({"model": model.name}, model.defaults)
    height, width = _checked_size(model, request)
    table = _table(model, request)
    guided = _guided(table, request)
    assert request.seed is not None
    generator = torch.Generator("cpu").manual_seed(request.seed)
    prompt = _read_prompt(model, request, "prompt")
    negative = _read_prompt(model, request, "negative_prompt") if guided.any() else None
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


def _read_prompt(model: Model, request: RenderRequest, name: str) -> Tokens:
    """Return the tokens of a prompt or of a negative one. Raises InvalidRequest for one that no lane has room for."""
    prompts, skip = model.prompts, request.clip_skip or 1
    if skip > prompts.num_layers:
        cure = f"the text encoder of model {model.name!r} has {prompts.num_layers} layers; say one of them, 1 the last"
        raise InvalidRequest([FieldError("clip_skip", f"clip_skip is {skip}: {cure}")])
    tokens = prompts.tokens(getattr(request, name) or "", request.prompt_syntax or PromptSyntax.PLAIN, skip)
    if (num := prompts.num_chunks(tokens)) > MAX_CHUNKS:
        message = (
            f"{name} takes {num} chunks of {prompts.num_tokens - 2} tokens: at most {MAX_CHUNKS} are drawn; shorten it"
        )
        raise InvalidRequest([FieldError(name, message)])
    return tokens


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
