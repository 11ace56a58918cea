"""Tables that start midway, for a given picture: against diffusers' schedulers driven as its pipelines drive them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.samplers import SAMPLERS, Sampler
from sigmafarm_worker.sampling.lookup import find_table
from sigmafarm_worker.sampling.midway import Midway
from sigmafarm_worker.sampling.table import COEFFICIENTS, NOISE, NUM_FIRST, OUTSIDE, Table
from tests.worker.plain_loop import VARIANTS, make_scheduler, step_options
from tests.worker.sampling.test_probe import SD, Network, network

#: Those that diffusers starts wrongly.
FAULTY = ("lms", "pndm")
SHAPE = (1, 4, 8, 8)
ALPHA_BARS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0).numpy()


def given() -> tuple[Tensor, Tensor, Tensor]:
    """Return a picture, a mask (1: draw anew) and the generator that draws the rest."""
    source = torch.Generator().manual_seed(5)
    picture = 0.6 * torch.randn(SHAPE, generator=source)
    return picture, (torch.rand(SHAPE[1:], generator=source) < 0.5).float(), source


def walk_theirs(sampler: Sampler, num_steps: int, start: int, karras: bool, answer: Network) -> Tensor:
    """Return the last latents of diffusers' inpainting loop for UNets of four channels, from a step on."""
    scheduler = make_scheduler(sampler, SD, karras)
    scheduler.set_timesteps(num_steps)
    timesteps = scheduler.timesteps[start * scheduler.order :]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start * scheduler.order)
    picture, mask, source = given()
    noise = torch.randn(SHAPE, generator=source)
    options = step_options(scheduler, source)
    x = scheduler.add_noise(picture, noise, timesteps[:1])
    for i, t in enumerate(timesteps):
        out = answer(scheduler.scale_model_input(x, t), float(t))
        x = scheduler.step(out, t, x, return_dict=False, **options)[0]
        is_last = i == len(timesteps) - 1
        kept = picture if is_last else scheduler.add_noise(picture, noise, torch.tensor([timesteps[i + 1]]))
        x = (1 - mask) * kept + mask * x
    return x[0]


def walk_ours(table: Table, answer: Network) -> Tensor:
    """Return the last latents of a table, in float32 as the engine runs it."""
    (picture,), mask, source = given()
    noise = torch.randn(SHAPE, generator=source)[0]
    x, history = table.start.scale * picture + table.start.noise * noise, list[Tensor]()
    for row, draws in zip(torch.tensor(table.rows), table.draws, strict=True):
        t, c_in, a, b, alpha = row[:NUM_FIRST]
        history = [a * x + b * answer(c_in * x, float(t)), *history]
        x = alpha * x + sum(c * h for c, h in zip(row[COEFFICIENTS], history, strict=False))
        x = x + row[NOISE] * (torch.randn(SHAPE[1:], generator=source) if draws else 0)
        p, q = row[OUTSIDE]
        x = (1 - mask) * (p * picture + q * noise) + mask * x
    return x


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 1, 4, 7])
@pytest.mark.parametrize(("sampler", "karras"), VARIANTS, ids=[f"{s.name}-{k}" for s, k in VARIANTS])
def test_a_table_cut_at_a_step_ends_where_diffusers_pipeline_does(sampler: Sampler, karras: bool, start: int):
    answer = network("epsilon")

    theirs = walk_theirs(sampler, 8, start, karras, answer)

    for as_diffusers in (True,) if sampler.name in FAULTY and start else (True, False):
        table = find_table(sampler.name, 8, SD, Midway(start, as_diffusers), karras_sigmas=karras)
        assert table.num_calls == sampler.num_calls_from(start, 8, as_diffusers=as_diffusers)
        error = torch.linalg.norm(walk_ours(table, answer) - theirs) / torch.linalg.norm(theirs)
        assert error < 1e-4


def walk_finely(table: Table, answer: Network, z: Tensor, num_steps: int = 2000) -> Tensor:
    """Return where the trajectory of dx/dsigma = eps ends that starts on latents of a table, by Heun's method."""
    train = ((1 - ALPHA_BARS) / ALPHA_BARS) ** 0.5
    last = 0.0 if table.start.scale == 1 else float(train[0])
    sigmas = np.linspace(table.start.sigma ** (1 / 7), last ** (1 / 7), num_steps + 1) ** 7
    times = np.interp(sigmas, train, np.arange(1000))

    def slope(x: Tensor, i: int) -> Tensor:
        return answer(x / (1 + sigmas[i] ** 2) ** 0.5, times[i])

    x = z / table.start.scale
    for i, step in enumerate(np.diff(sigmas)):
        first = slope(x, i)
        x = x + step * (first + slope(x + step * first, i + 1)) / 2
    return x / (1 + last**2) ** 0.5


@pytest.mark.parametrize("start", [12, 37])
@pytest.mark.parametrize("name", FAULTY)
def test_what_counts_its_own_history_comes_nearer_to_a_fine_trajectory(name: str, start: int):
    answer = network("epsilon")
    picture, _, source = given()
    noise = torch.randn(SHAPE, generator=source)

    def error(table: Table) -> float:
        z = (table.start.scale * picture + table.start.noise * noise)[0].double()
        fine = walk_finely(table, answer, z)
        return float(torch.linalg.norm(walk(table, answer, z) - fine) / torch.linalg.norm(fine))

    exact, as_diffusers = (error(find_table(name, 50, SD, Midway(start, way))) for way in (False, True))

    assert exact < 0.02
    assert exact < 0.5 * as_diffusers


def walk(table: Table, answer: Network, z: Tensor) -> Tensor:
    x, history = z, list[Tensor]()
    for row in torch.tensor(table.rows, dtype=torch.float64):
        t, c_in, a, b, alpha = row[:NUM_FIRST]
        history = [a * x + b * answer(c_in * x, float(t)), *history]
        x = alpha * x + sum(c * h for c, h in zip(row[COEFFICIENTS], history, strict=False))
    return x


def test_plms_with_one_step_left_makes_one_call():
    assert find_table("pndm", 6, SD, Midway(5)).num_calls == 1
    assert find_table("pndm", 6, SD, Midway(5, as_diffusers=True)).num_calls == 2


def test_a_start_past_the_end_is_refused():
    for sampler in SAMPLERS:
        with pytest.raises(InvalidSettings):
            find_table(sampler.name, 5, SD, Midway(5))
