"""A request becomes a slot: settings and pictures checked, prompts tokenised, the sampler's table and the noise made.

All the host's work for one job, done in the thread that submits, so that the engine's thread has none of it. An error
here belongs to this job alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.picture_settings import DEFAULT_STRENGTH, OF_A_PICTURE, LmsStart
from sigmafarm_common.settings import PromptSyntax, RenderRequest
from sigmafarm_worker.drawing_engine import OnStep, Rendered
from sigmafarm_worker.engine.cut_prompts import tell_cuts
from sigmafarm_worker.engine.given import check_given, draw_given
from sigmafarm_worker.engine.masks import Pixels
from sigmafarm_worker.engine.noise_rows import NoiseRows
from sigmafarm_worker.engine.see_inside import see_inside
from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.models import LATENT_CHANNELS, Model
from sigmafarm_worker.models.reading import Tokens
from sigmafarm_worker.sampling.lms import MAX_ORDER
from sigmafarm_worker.sampling.lookup import find_table
from sigmafarm_worker.sampling.midway import FROM_NOISE, Midway
from sigmafarm_worker.sampling.table import Table

#: Chunks of a prompt that a job may have: every row of its lane pays for the longest one.
MAX_CHUNKS = 16


def make_slot(
    model: Model,
    request: RenderRequest,
    future: Future[Rendered],
    on_step: OnStep | None,
    init_image: Pixels | None = None,
    mask_image: Pixels | None = None,
) -> Slot:
    """Return the slot of a request. Raises InvalidRequest or InvalidSettings with value and cure."""
    said, request = request, _resolved(model, request, has_picture=init_image is not None)
    height, width = _checked_size(model, request)
    check_given(said, (height, width), init_image, mask_image)
    table = _table(model, request)
    guided = _guided(table, request)
    prompt = _read_prompt(model, request, "prompt")
    negative = _read_prompt(model, request, "negative_prompt") if guided.any() else None
    noise_rows = _noise_rows(model, request, height, width)
    given, noise = draw_given(
        request, init_image, mask_image, noise_rows, sees_picture=model.sees_picture, factor=model.vae_factor
    )
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
        noise=noise,
        noise_rows=noise_rows,
        inside=see_inside(model.prompts, table, prompt, negative),
        given=given,
    )


def with_order(model: Model, slot: Slot, order: int) -> Slot:
    """Return a slot of LMS to be drawn anew with another order: from the same noise, which LMS adds nothing to."""
    request = slot.request.model_copy(update={"lms_order": order})
    table = _table(model, request)
    return replace(slot, request=request, table=table, guided=_guided(table, request))


def _resolved(model: Model, request: RenderRequest, *, has_picture: bool) -> RenderRequest:
    """Return the request with every setting filled; where it starts on a picture, for a job that has one."""
    defaults: Mapping[str, Any] = {"strength": DEFAULT_STRENGTH} if has_picture else {}
    resolved = request.resolved({"model": model.name}, model.defaults, defaults)
    # What a model's defaults say of pictures is left aside where there is none.
    return resolved if has_picture else resolved.model_copy(update=dict.fromkeys(OF_A_PICTURE))


def _noise_rows(model: Model, request: RenderRequest, height: int, width: int) -> NoiseRows:
    assert request.seed is not None
    generator = torch.Generator("cpu").manual_seed(request.seed)
    shape = (LATENT_CHANNELS, height // model.vae_factor, width // model.vae_factor)
    index = request.image_index or 0
    return NoiseRows(generator, shape, index, request.image_count or index + 1)


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
    as_diffusers = request.lms_start == LmsStart.DIFFUSERS
    has_picture = any(getattr(request, name) is not None for name in OF_A_PICTURE)
    midway = Midway(request.first_step, as_diffusers) if has_picture else FROM_NOISE
    assert request.num_inference_steps is not None
    assert request.sampler is not None
    return find_table(
        request.sampler,
        request.num_inference_steps,
        model.scheduler,
        midway,
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
