"""Every sampler in the engine, against diffusers' scheduler in a plain guided loop on the same light network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.unet_pass import EagerPass
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.sampling.lookup import find_table
from tests.worker.light_model import lighten
from tests.worker.plain_loop import VARIANTS, draw_plainly

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def light_v(v_checkpoint: Path) -> Model:
    return lighten(load_model(v_checkpoint))


def request_of(i: int, sampler: str, num_steps: int, *, karras: bool = False) -> RenderRequest:
    return RenderRequest(
        prompt=f"thing {i}",
        negative_prompt="grey",
        sampler=sampler,
        karras_sigmas=karras,
        num_inference_steps=num_steps,
        guidance_scale=2 + i % 4,
        seed=i,
    )


def of_every_sampler() -> list[RenderRequest]:
    """Return a request of 4 to 6 steps for each sampler, with and without Karras sigmas where it has them, and a few of
    one step, two, twenty and fifty. All others: tests/bench/sampler_grid.py."""
    few = [request_of(i, s.name, 4 + i % 3, karras=karras) for i, (s, karras) in enumerate(VARIANTS)]
    ends = [(name, num_steps) for name in ("lms", "euler_a", "heun", "dpmpp_2m", "pndm") for num_steps in (1, 2)]
    long = [("dpmpp_2m", 20), ("lms", 50)]
    return few + [request_of(100 + i, *of) for i, of in enumerate(ends + long)]


def draw_together(model: Model, requests: list[RenderRequest], run: Callable[[Engine], None]) -> list[Rendered]:
    engine = Engine(model, max_images=len(requests))
    futures = [engine.submit(request) for request in requests]
    run(engine)
    return [future.result(0) for future in futures]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_every_sampler_is_diffusers_own_and_the_same_alone_as_in_one_mixed_batch(
    kind: str, light: Model, light_v: Model, run, draw_alone, error
):
    model = light if kind == "epsilon" else light_v
    requests = of_every_sampler()

    together = draw_together(model, requests, run)

    for request, drawn in zip(requests, together, strict=True):
        assert error(drawn.latents, draw_plainly(model, request)) < 1e-4, request
        assert error(drawn.latents, draw_alone(request, model).latents) < 1e-5, request


@pytest.mark.parametrize("sampler", ["lms", "euler", "heun", "dpmpp_2m"])
def test_outside_its_interval_a_picture_is_not_guided_and_costs_one_row(sampler: str, light: Model, run, error):
    wide = RenderRequest(prompt="a", sampler="ddim", num_inference_steps=30, guidance_scale=5, seed=9)
    request = RenderRequest(
        prompt="b",
        sampler=sampler,
        num_inference_steps=12,
        guidance_scale=7,
        guidance_interval=(0.5, 6.0),
        seed=3,
    )
    engine = Engine(light, max_images=2)
    engine.submit(wide)  # whose rows go on, two a pass, while the other's come and go
    future = engine.submit(request)

    run(engine)

    table = find_table(sampler, 12, light.scheduler)
    num_guided = int(((table.sigmas > 0.5) & (table.sigmas <= 6.0)).sum())
    assert 0 < num_guided < table.num_calls
    assert engine.stats.num_rows == 2 * 30 + table.num_calls + num_guided
    assert error(future.result(0).latents, draw_plainly(light, request)) < 1e-4


def test_an_interval_that_holds_no_noise_level_is_no_guidance_at_all(light: Model, draw_alone, error):
    request = RenderRequest(prompt="a", num_inference_steps=5, guidance_scale=7, guidance_interval=(90, 100), seed=3)

    drawn = draw_alone(request, light)

    unguided = draw_alone(request.model_copy(update={"guidance_scale": 1.0, "guidance_interval": None}), light)
    assert error(drawn.latents, unguided.latents) < 1e-6


def test_progress_counts_calls_and_previews_show_the_picture(light: Model, run):
    told: list[tuple[int, int]] = []
    engine = Engine(light)
    engine.submit(RenderRequest(prompt="a", sampler="heun", num_inference_steps=4), lambda *step: told.append(step))

    engine.step()
    (glimpse,) = engine.glimpses()
    run(engine)

    assert told == [(i, 7) for i in range(1, 8)]
    assert (glimpse.step, glimpse.pixels.shape) == (1, (8, 8, 3))


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a", "heun", "pndm", "lms"])
def test_a_preview_comes_near_the_picture_towards_the_end(sampler: str, light: Model, run):
    engine = Engine(light)
    future = engine.submit(RenderRequest(prompt="a", sampler=sampler, num_inference_steps=30, guidance_scale=1, seed=1))
    while (found := engine._stepper.foreseen() if engine.step() else []) and not future.done():
        (((_slot, _calls),), x_1CHW) = found[0]
        last = x_1CHW[0].numpy()

    drawn = future.result(0).latents

    assert np.linalg.norm(last - drawn) < 0.1 * np.linalg.norm(drawn)


def test_memory_that_runs_out_in_a_pass_costs_a_noisy_job_nothing(light: Model, run, draw_alone, error, monkeypatch):
    requests = [RenderRequest(prompt=f"{i}", sampler="euler_a", num_inference_steps=5, seed=i) for i in range(3)]
    engine, forward = Engine(light, max_images=3), EagerPass._forward

    def forward_of_two(self: EagerPass, x_RCHW: Tensor, *rest: Tensor) -> Tensor:
        if len(x_RCHW) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, x_RCHW, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(EagerPass, "_forward", forward_of_two)
        futures = [engine.submit(request) for request in requests]
        run(engine)

    for request, future in zip(requests, futures, strict=True):
        assert error(future.result(0).latents, draw_alone(request, light).latents) < 1e-5
