"""A drawing from inside: its latents' four channels, and what it looks like at chosen steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sigmafarm_common.errors import InvalidInput
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.looking.look import Look, draw_grid
from sigmafarm_worker.models import Model

#: Looks at a drawing, unless others are asked for.
NUM_FRAMES = 8


def look_at_latents(model: Model, request: RenderRequest) -> Look:
    """Draw a request and return the four channels of its finished latents, and the picture that they become."""
    engine = Engine(model, max_images=1)
    future = engine.submit(request)
    while engine.step():
        pass
    rendered = future.result(0)
    channels = [(channel_of(each), f"channel {n}") for n, each in enumerate(rendered.latents)]
    figures = {"request": rendered.request.said(), "channels": [figures_of(each) for each in rendered.latents]}
    return Look(draw_grid(f"Latents: {request.prompt}", [(rendered.pixels, "decoded"), *channels]), figures)


def look_at_filmstrip(model: Model, request: RenderRequest, *, steps: Sequence[int] | None = None) -> Look:
    """Draw a request and return its latents decoded after chosen calls of the network (0 is the noise); evenly spread
    ones where none are named. Raises InvalidInput for one past the end."""
    num_calls = request.resolved(model.defaults).num_calls
    chosen = sorted(set(steps)) if steps else [round(n * num_calls / (NUM_FRAMES - 1)) for n in range(NUM_FRAMES)]
    if wrong := [each for each in chosen if not 0 <= each <= num_calls]:
        raise InvalidInput(f"step {wrong[0]} is not among 0 to {num_calls}: name one of those")
    frames = dict(_frames(model, request, set(chosen)))
    pictures = [(pixels, f"step {step}: rms {rms:.2f}") for step, (pixels, rms) in frames.items()]
    told = [{"step": step, "latent_rms": rms} for step, (_, rms) in frames.items()]
    return Look(draw_grid(f"{request.prompt}", pictures), {"num_calls": num_calls, "frames": told})


def _frames(model: Model, request: RenderRequest, chosen: set[int]) -> Iterable[tuple[int, tuple[Any, float]]]:
    """Yield the decoded latents after the chosen calls; the last one is the finished picture itself."""
    engine, done = Engine(model, max_images=1), [0]
    future = engine.submit(request, lambda num, _: done.__setitem__(0, num))
    if 0 in chosen:
        yield 0, _noise_of(model, request)
    seen = 0
    while engine.step():
        if done[0] != seen and done[0] in chosen and (latents := engine.latents_of(future)) is not None:
            yield done[0], (decode(model, latents), rms_of(latents))
        seen = done[0]
    rendered = future.result(0)
    if seen in chosen:
        yield seen, (rendered.pixels, rms_of(torch.from_numpy(rendered.latents)))


def _noise_of(model: Model, request: RenderRequest) -> tuple[Any, float]:
    """Return the first noise of a request, decoded, and its root mean square: of variance 1 by then."""
    said = request.resolved(model.defaults)
    shape = (4, (said.height or model.height) // model.vae_factor, (said.width or model.width) // model.vae_factor)
    noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(said.seed or 0))
    return decode(model, noise), rms_of(noise)


@torch.inference_mode()
def decode(model: Model, latents_CHW: torch.Tensor) -> NDArray[np.uint8]:
    """Return latents [4, h, w] as a picture, uint8 [H, W, 3]."""
    return model.decode(latents_CHW[None].float().to(model.device))[0][0].cpu().numpy()


def rms_of(latents: torch.Tensor) -> float:
    return float(latents.float().square().mean().sqrt())


def channel_of(channel_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a channel in grey, its smallest value black and its largest white."""
    low, high = float(channel_HW.min()), float(channel_HW.max())
    return np.round((channel_HW - low) / ((high - low) or 1.0) * 255).astype(np.uint8)


def figures_of(channel_HW: NDArray[np.float32]) -> dict[str, float]:
    """Return what a channel is like in numbers."""
    said = {"min": channel_HW.min(), "max": channel_HW.max(), "mean": channel_HW.mean(), "std": channel_HW.std()}
    return {name: float(value) for name, value in said.items()}
