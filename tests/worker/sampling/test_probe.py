"""Tables against diffusers' own schedulers, on an analytic network: every sampler, from one step to twenty.

Fifty steps, beside a UNet: tests/bench/sampler_grid.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.samplers import BY_NAME, SAMPLERS, Sampler
from sigmafarm_worker.sampling.lookup import find_table
from sigmafarm_worker.sampling.probe import probe
from sigmafarm_worker.sampling.table import COEFFICIENTS, NOISE, NUM_FIRST, Table
from tests.worker.plain_loop import VARIANTS, make_scheduler, step_options

#: Stable Diffusion 1.x's scheduler_config.json.
SD: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}
#: Standard deviation of the pictures that the analytic network knows.
SPREAD = 0.6

Network = Callable[[Tensor, float], Tensor]


def network(prediction_type: str) -> Network:
    """Return the exact denoiser of normal pictures, bent a little, so that it is not linear."""
    alpha_bars = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0).numpy()

    def answer(z: Tensor, t: float) -> Tensor:
        alpha_bar = float(np.interp(t, np.arange(1000), alpha_bars))
        variance = alpha_bar * SPREAD**2 + 1 - alpha_bar
        noise = (1 - alpha_bar) ** 0.5 * z / variance + 0.1 * torch.tanh(z)
        if prediction_type == "epsilon":
            return noise
        return alpha_bar**0.5 * noise - (1 - alpha_bar) ** 0.5 * (alpha_bar**0.5 * SPREAD**2 * z / variance)

    return answer


def walk_theirs(sampler: Sampler, num_steps: int, settings: Mapping[str, Any], karras: bool, answer: Network) -> Tensor:
    """Return the last latents of diffusers' scheduler, in float32 as its pipelines run it."""
    scheduler = make_scheduler(sampler, settings, karras)
    scheduler.set_timesteps(num_steps)
    generator = torch.Generator().manual_seed(7)
    options = step_options(scheduler, generator)
    x = torch.randn(1, 4, 8, 8, generator=generator) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        out = answer(scheduler.scale_model_input(x, t), float(t))
        x = scheduler.step(out, t, x, return_dict=False, **options)[0]
    return x[0]


def walk_ours(table: Table, answer: Network) -> Tensor:
    """Return the last latents of a table, in float32 as the engine runs it."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(1, 4, 8, 8, generator=generator)[0] * table.init_noise_sigma
    history: list[Tensor] = []
    for row, draws in zip(torch.tensor(table.rows), table.draws, strict=True):
        t, c_in, a, b, alpha = row[:NUM_FIRST]
        history = [a * x + b * answer(c_in * x, float(t)), *history]
        x = alpha * x + sum(c * h for c, h in zip(row[COEFFICIENTS], history, strict=False))
        x = x + row[NOISE] * (torch.randn(4, 8, 8, generator=generator) if draws else 0)
    return x


@pytest.mark.slow
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("sampler", "karras"), VARIANTS, ids=lambda value: getattr(value, "name", value))
def test_a_table_ends_where_diffusers_own_scheduler_ends(sampler: Sampler, karras: bool, prediction_type: str):
    settings, answer = {**SD, "prediction_type": prediction_type}, network(prediction_type)

    for num_steps in (1, 2, 3, 8, 20):
        table = find_table(sampler.name, num_steps, settings, karras_sigmas=karras)

        found = walk_ours(table, answer)

        wanted = walk_theirs(sampler, num_steps, settings, karras, answer)
        assert torch.linalg.norm(found - wanted) < 1e-4 * torch.linalg.norm(wanted), num_steps
        assert table.num_calls == sampler.num_calls(num_steps)


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("name", ["ddim", "euler_a", "dpmpp_2m", "pndm"])
def test_a_table_follows_the_spacing_of_the_checkpoints_timesteps(name: str, spacing: str):
    settings, answer = {**SD, "timestep_spacing": spacing}, network("epsilon")

    found = walk_ours(find_table(name, 12, settings), answer)

    wanted = walk_theirs(BY_NAME[name], 12, settings, False, answer)
    assert torch.linalg.norm(found - wanted) < 1e-4 * torch.linalg.norm(wanted)


def test_a_preview_of_the_last_call_is_the_picture_itself():
    for sampler in SAMPLERS:
        previews = find_table(sampler.name, 5, SD).previews

        assert previews[-1].tolist() in ([0, 1], [1, 0]), sampler.name


def test_a_scheduler_that_is_no_table_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sigmafarm_worker.sampling.probe.LINEAR", {})

    with pytest.raises(InvalidSettings, match=r"sampler ddim: the steps of DDIMScheduler are no rows of a table"):
        probe(BY_NAME["ddim"], 5, {**SD, "clip_sample": True}, karras_sigmas=False)


def test_what_a_scheduler_cannot_do_is_said():
    with pytest.raises(InvalidSettings, match=r"sampler ddim cannot draw 1000 steps with this model: index 1000"):
        find_table("ddim", 1000, SD)
    with pytest.raises(InvalidSettings, match=r"dpmpp_2m cannot draw 1000 steps .* two of its timesteps are the same"):
        find_table("dpmpp_2m", 1000, SD)
    with pytest.raises(InvalidSettings, match=r"num_inference_steps is 51: sampler lcm makes at most 50"):
        find_table("lcm", 51, SD)


def test_a_table_is_made_once_and_cannot_be_changed():
    table = find_table("dpmpp_2m", 9, SD)

    assert find_table("dpmpp_2m", 9, dict(SD)) is table
    assert find_table("dpmpp_2m", 9, SD, karras_sigmas=True) is not table
    with pytest.raises(ValueError, match="read-only"):
        table.rows[0, 0] = 1


def test_karras_sigmas_of_a_sampler_without_them_are_left_aside():
    assert find_table("ddim", 4, SD, karras_sigmas=True) is find_table("ddim", 4, SD)


def test_samplers_without_noise_draw_none():
    noisy = {s.name for s in SAMPLERS if find_table(s.name, 4, SD).is_noisy}

    assert noisy == {"euler_a", "dpm2_a", "ddpm", "dpmpp_2m_sde", "lcm", "sa"}
