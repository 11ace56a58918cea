"""Every sampler in the engine, against diffusers' scheduler in a plain guided loop on the same network."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from sigmafarm_common.samplers import BY_NAME, LMS, LMS_SCHEDULER, SAMPLERS
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.unet_pass import EagerPass
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.sampling.lookup import find_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def v_model(v_checkpoint: Path) -> Model:
    return load_model(v_checkpoint)


def of_every_sampler(num_steps: int, **settings: Any) -> list[RenderRequest]:
    """Return a request for each sampler, with and without Karras sigmas where it has them."""
    variants = [(s.name, karras) for s in SAMPLERS for karras in ((False, True) if s.knows_karras else (False,))]
    return [
        RenderRequest(
            prompt=f"thing {i}",
            negative_prompt="grey",
            sampler=name,
            karras_sigmas=karras,
            num_inference_steps=num_steps + i % 3,
            guidance_scale=2 + i % 4,
            seed=i,
            **settings,
        )
        for i, (name, karras) in enumerate(variants)
    ]


@torch.inference_mode()
def plain_loop(model: Model, request: RenderRequest) -> np.ndarray:
    """Return the latents that diffusers' scheduler comes to, guided as its pipelines do, one picture at a time."""
    sampler = BY_NAME[request.sampler or LMS]
    kind = getattr(diffusers, sampler.scheduler or LMS_SCHEDULER)
    known = inspect.signature(kind.__init__).parameters
    said = {
        **model.scheduler,
        "clip_sample": False,
        **sampler.options,
        "use_karras_sigmas": bool(request.karras_sigmas),
    }
    scheduler = kind(**{key: value for key, value in said.items() if key in known})
    scheduler.set_timesteps(request.num_inference_steps)
    generator = torch.Generator().manual_seed(request.seed or 0)
    options = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    emb_2TD = torch.stack(model.prompts.embeddings([model.prompts.tokens(t) for t in texts(request)]))
    low, high = request.guidance_interval or (-1, np.inf)
    x = torch.randn(1, 4, 8, 8, generator=generator) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x_in = scheduler.scale_model_input(x, t)
        if low < (scheduler.sigmas[scheduler.step_index or 0] if request.guidance_interval else 0) <= high:
            uncond, cond = unet(model, x_in, t, emb_2TD).chunk(2)
            out = uncond + request.guidance_scale * (cond - uncond)
        else:
            out = unet(model, x_in, t, emb_2TD[1:])
        x = scheduler.step(out, t, x, return_dict=False, **options)[0]
    return x[0].numpy()


def texts(request: RenderRequest) -> tuple[str, str]:
    return (request.negative_prompt or "", request.prompt)


def unet(model: Model, x: Tensor, t: Any, emb_RTD: Tensor) -> Tensor:
    x_RCHW = x.expand(len(emb_RTD), -1, -1, -1)
    return model.unet(x_RCHW, t, encoder_hidden_states=emb_RTD, return_dict=False)[0]


def draw_together(model: Model, requests: list[RenderRequest], run: Callable[[Engine], None]) -> list[Rendered]:
    engine = Engine(model, max_images=len(requests))
    futures = [engine.submit(request) for request in requests]
    run(engine)
    return [future.result(0) for future in futures]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_every_sampler_is_diffusers_own_and_the_same_alone_as_in_one_mixed_batch(
    kind: str, model: Model, v_model: Model, run, draw_alone, error
):
    model = model if kind == "epsilon" else v_model
    requests = of_every_sampler(6)

    together = draw_together(model, requests, run)

    for request, drawn in zip(requests, together, strict=True):
        assert error(drawn.latents, plain_loop(model, request)) < 1e-4, request
        assert error(drawn.latents, draw_alone(request, model).latents) < 1e-5, request


@pytest.mark.parametrize("sampler", ["lms", "euler", "heun", "dpmpp_2m"])
def test_outside_its_interval_a_picture_is_not_guided_and_costs_one_row(sampler: str, model: Model, run, error):
    wide = RenderRequest(prompt="a", sampler="ddim", num_inference_steps=30, guidance_scale=5, seed=9)
    request = RenderRequest(
        prompt="b",
        sampler=sampler,
        num_inference_steps=12,
        guidance_scale=7,
        guidance_interval=(0.5, 6.0),
        seed=3,
    )
    engine = Engine(model, max_images=2)
    engine.submit(wide)  # whose rows go on, two a pass, while the other's come and go
    future = engine.submit(request)

    run(engine)

    table = find_table(sampler, 12, model.scheduler)
    num_guided = int(((table.sigmas > 0.5) & (table.sigmas <= 6.0)).sum())
    assert 0 < num_guided < table.num_calls
    assert engine.stats.num_rows == 2 * 30 + table.num_calls + num_guided
    assert error(future.result(0).latents, plain_loop(model, request)) < 1e-4


def test_an_interval_that_holds_no_noise_level_is_no_guidance_at_all(model: Model, draw_alone, error):
    request = RenderRequest(prompt="a", num_inference_steps=5, guidance_scale=7, guidance_interval=(90, 100), seed=3)

    drawn = draw_alone(request)

    unguided = draw_alone(request.model_copy(update={"guidance_scale": 1.0, "guidance_interval": None}))
    assert error(drawn.latents, unguided.latents) < 1e-6


def test_progress_counts_calls_and_previews_show_the_picture(model: Model, run):
    told: list[tuple[int, int]] = []
    engine = Engine(model)
    engine.submit(RenderRequest(prompt="a", sampler="heun", num_inference_steps=4), lambda *step: told.append(step))

    engine.step()
    (glimpse,) = engine.glimpses()
    run(engine)

    assert told == [(i, 7) for i in range(1, 8)]
    assert (glimpse.step, glimpse.pixels.shape) == (1, (8, 8, 3))


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a", "heun", "pndm", "lms"])
def test_a_preview_comes_near_the_picture_towards_the_end(sampler: str, model: Model, run):
    engine = Engine(model)
    future = engine.submit(RenderRequest(prompt="a", sampler=sampler, num_inference_steps=30, guidance_scale=1, seed=1))
    while (found := engine._stepper.foreseen() if engine.step() else []) and not future.done():
        (((_slot, _calls),), x_1CHW) = found[0]
        last = x_1CHW[0].numpy()

    drawn = future.result(0).latents

    assert np.linalg.norm(last - drawn) < 0.1 * np.linalg.norm(drawn)


def test_memory_that_runs_out_in_a_pass_costs_a_noisy_job_nothing(model: Model, run, draw_alone, error, monkeypatch):
    requests = [RenderRequest(prompt=f"{i}", sampler="euler_a", num_inference_steps=5, seed=i) for i in range(3)]
    engine, forward = Engine(model, max_images=3), EagerPass._forward

    def forward_of_two(self: EagerPass, x_RCHW: Tensor, *rest: Tensor) -> Tensor:
        if len(x_RCHW) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, x_RCHW, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(EagerPass, "_forward", forward_of_two)
        futures = [engine.submit(request) for request in requests]
        run(engine)

    for request, future in zip(requests, futures, strict=True):
        assert error(future.result(0).latents, draw_alone(request).latents) < 1e-5
