"""A request becomes a slot: settings and pictures checked, prompts tokenised, the sampler's table and the noise made.

All the host's work for one job, done in the thread that submits, so that the engine's thread has none of it. An error
here belongs to this job alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.picture_settings import DEFAULT_STRENGTH, OF_A_PICTURE, LmsStart
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import OnStep, Rendered
from sigmafarm_worker.engine.given import check_given, draw_given
from sigmafarm_worker.engine.masks import Pixels
from sigmafarm_worker.engine.noise_rows import NoiseRows
from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.models import LATENT_CHANNELS, Model
from sigmafarm_worker.sampling.lms import MAX_ORDER
from sigmafarm_worker.sampling.lookup import find_table
from sigmafarm_worker.sampling.midway import FROM_NOISE, Midway
from sigmafarm_worker.sampling.table import Table


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
    noise_rows = _noise_rows(model, request, height, width)
    given, noise = draw_given(
        request, init_image, mask_image, noise_rows, sees_picture=model.sees_picture, factor=model.vae_factor
    )
    return Slot(
        key=LaneKey(model.name, height, width),
        request=request,
        future=future,
        on_step=on_step,
        prompt=model.prompts.tokens(request.prompt),
        negative=model.prompts.tokens(request.negative_prompt or "") if guided.any() else None,
        table=table,
        guided=guided,
        noise=noise,
        noise_rows=noise_rows,
        given=given,
    )


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
