"""A picture through the VAE: encoded and decoded again, and with the noise of a step upon it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sigmafarm_common.errors import InvalidInput
from sigmafarm_worker.looking.drawn import channel_of, decode, figures_of
from sigmafarm_worker.looking.look import Look, draw_grid
from sigmafarm_worker.models import Model
from sigmafarm_worker.sampling.lookup import find_table

#: What differences are multiplied by, to be seen.
DIFFERENCE_GAIN = 4


def look_at_roundtrip(model: Model, picture: Image.Image) -> Look:
    """Encode a picture (the mean of the posterior) and decode it; return both, and their difference enlarged."""
    pixels = pixels_for(model, picture)
    latents = encode(model, pixels, generator=None)
    again = decode(model, latents)
    difference = np.abs(pixels.astype(np.int16) - again.astype(np.int16))
    error = float(np.mean(difference.astype(np.float64) ** 2))
    figures = {
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "num_values_ratio": pixels.size / latents.numel(),
        "max_difference": int(difference.max()),
        "mean_difference": float(difference.mean()),
        "psnr_db": None if error == 0 else 10 * math.log10(255**2 / error),
    }
    shown = np.minimum(difference * DIFFERENCE_GAIN, 255).astype(np.uint8)
    title = f"mean difference {figures['mean_difference']:.2f} of 255, largest {figures['max_difference']}"
    parts = [(pixels, "as it came"), (again, "encoded, decoded"), (shown, f"difference, times {DIFFERENCE_GAIN}")]
    return Look(draw_grid(title, parts), figures)


def look_at_noised(
    model: Model, picture: Image.Image, step: int, *, num_inference_steps: int = 50, seed: int = 0
) -> Look:
    """Return a picture with the noise of a step upon its latents, decoded, and its four channels.

    As image to image begins: a sample of the posterior, then noise times the step's sigma, both from the seed's
    generator. Raises InvalidInput for a step past the end."""
    table = find_table("lms", num_inference_steps, model.scheduler)
    if not 0 <= step < table.num_calls:
        raise InvalidInput(f"step is {step}: must be between 0 and {table.num_calls - 1}")
    generator = torch.Generator("cpu").manual_seed(seed)
    latents = encode(model, pixels_for(model, picture), generator=generator)
    sigma, timestep = float(table.sigmas[step]), float(table.rows[step, 0])
    noised = latents + sigma * torch.randn(latents.shape, generator=generator)
    channels = [(channel_of(each.numpy()), f"channel {n}") for n, each in enumerate(noised)]
    figures = {
        "step": step,
        "num_inference_steps": num_inference_steps,
        "sigma": sigma,
        "timestep": timestep,
        "seed": seed,
        "channels": [figures_of(each.numpy()) for each in noised],
    }
    title = f"step {step} of {num_inference_steps}: sigma {sigma:.4f}, timestep {timestep:.1f}"
    return Look(draw_grid(title, [(decode(model, noised), "noised, decoded"), *channels]), figures)


def pixels_for(model: Model, picture: Image.Image) -> NDArray[np.uint8]:
    """Return a picture as uint8 [H, W, 3] of sides that the VAE takes: cut at the right and below to its factor."""
    factor = model.vae_factor
    width, height = picture.width // factor * factor, picture.height // factor * factor
    if not width or not height:
        raise InvalidInput(f"the picture is {picture.width} x {picture.height}: {factor} is the smallest side")
    return np.array(picture.convert("RGB").crop((0, 0, width, height)))


@torch.inference_mode()
def encode(model: Model, pixels_HW3: NDArray[np.uint8], *, generator: torch.Generator | None) -> torch.Tensor:
    """Return the latents [4, H/8, W/8] of a picture, float32 on the CPU: the posterior's mean, or a sample of it."""
    unit_13HW = torch.from_numpy(pixels_HW3).permute(2, 0, 1)[None].float() / 127.5 - 1
    posterior = model.vae.encode(unit_13HW.to(model.device, model.dtype)).latent_dist
    mean, std = posterior.mean.float().cpu()[0], posterior.std.float().cpu()[0]
    noise = torch.zeros_like(mean) if generator is None else torch.randn(mean.shape, generator=generator)
    return (mean + std * noise) * model.vae.config.scaling_factor
