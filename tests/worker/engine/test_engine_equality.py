"""The engine's pictures are diffusers' pictures, and do not depend on the company that a job has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.noise_rows import NoiseRows
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models.projections import fuse_projections


def _request(**changed) -> RenderRequest:
    said = {"prompt": "a photograph of an astronaut", "num_inference_steps": 12, "guidance_scale": 7.5, "seed": 4}
    return RenderRequest.parse({"height": 64, "width": 64, **said, **changed})


CASES = {
    "guided": _request(),
    "negative prompt": _request(negative_prompt="blurred, grey"),
    "unguided": _request(guidance_scale=1),
    "guidance 0": _request(guidance_scale=0),
    "wide": _request(height=64, width=96),
    "odd latents": _request(height=72, width=88),
    "karras": _request(karras_sigmas=True),
    "one step": _request(num_inference_steps=1),
    "two steps": _request(num_inference_steps=2),
    "three steps": _request(num_inference_steps=3),
    "fifty steps": _request(num_inference_steps=50),
    "long prompt": _request(prompt="word " * 90),
    "empty prompt": _request(prompt=""),
    "other script": _request(prompt="кот 🐱 猫"),
    "large seed": _request(seed=2**63 - 1),
}


@pytest.mark.parametrize("request_", CASES.values(), ids=CASES.keys())
def test_pictures_are_those_of_diffusers_pipeline(request_, checkpoint, draw_alone, reference, error):
    latents, pixels = reference(checkpoint, request_)

    rendered = draw_alone(request_)

    assert rendered.latents.dtype == np.float32
    assert rendered.pixels.dtype == np.uint8
    assert rendered.pixels.shape == (request_.height, request_.width, 3)
    assert error(rendered.latents, latents) < 1e-4
    assert np.abs(rendered.pixels.astype(int) - pixels.astype(int)).max() <= 1


@pytest.mark.parametrize("case", ["guided", "negative prompt", "unguided", "karras"])
def test_pictures_of_a_v_prediction_model_are_those_of_diffusers(case, v_checkpoint, draw_alone, reference, error):
    latents, pixels = reference(v_checkpoint, CASES[case])

    rendered = draw_alone(CASES[case], load_model(v_checkpoint))

    assert error(rendered.latents, latents) < 1e-4
    assert np.abs(rendered.pixels.astype(int) - pixels.astype(int)).max() <= 1


@pytest.fixture(scope="module")
def fused(checkpoint: Path) -> Model:
    """A model as a GPU has it, with its projections fused."""
    loaded = load_model(checkpoint)
    assert fuse_projections(loaded.unet)
    return loaded


@pytest.mark.parametrize("case", ["guided", "negative prompt", "unguided", "karras", "long prompt"])
def test_pictures_of_fused_projections_are_those_of_diffusers(case, fused, checkpoint, draw_alone, reference, error):
    latents, pixels = reference(checkpoint, CASES[case])

    rendered = draw_alone(CASES[case], fused)

    assert error(rendered.latents, latents) < 1e-4
    assert np.abs(rendered.pixels.astype(int) - pixels.astype(int)).max() <= 1


def test_a_picture_of_fused_projections_is_the_same_in_company(fused, run, draw_alone, mixed_requests, error):
    engine = Engine(fused, max_images=12)
    futures = [engine.submit(request) for request in mixed_requests]
    run(engine)

    for future, request in zip(futures, mixed_requests, strict=True):
        assert error(future.result(0).latents, draw_alone(request, fused).latents) < 1e-5


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_leading_spacing_starts_as_diffusers_does(tmp_path: Path, draw_alone, reference, error):
    from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint

    # An old checkpoint without the offset: the pipeline rewrites it to 1.
    old = {"timestep_spacing": "leading", "steps_offset": 0}
    folder = make_random_checkpoint(tmp_path / "leading", scheduler=old)
    latents, _ = reference(folder, _request())

    assert error(draw_alone(_request(), load_model(folder)).latents, latents) < 1e-4


def test_noise_of_seed_100_begins_with_the_published_values():
    noise = NoiseRows(torch.Generator().manual_seed(100), (4, 64, 64)).draw()

    torch.testing.assert_close(noise[0, 0, :3], torch.tensor([0.1268, 1.3564, 0.5632]), atol=5e-5, rtol=0)
    torch.testing.assert_close(noise[0, 1, :3], torch.tensor([1.6700, -0.9275, -0.9759]), atol=5e-5, rtol=0)


@pytest.fixture(scope="module")
def alone(draw_alone, mixed_requests) -> list[np.ndarray]:
    return [draw_alone(request).latents for request in mixed_requests]


def test_a_picture_is_the_same_alone_and_in_a_full_batch(model: Model, run, alone, mixed_requests, error):
    engine = Engine(model, max_images=12)
    futures = [engine.submit(r) for r in mixed_requests]
    run(engine)

    for future, latents in zip(futures, alone, strict=True):
        assert error(future.result(0).latents, latents) < 1e-5


def test_a_picture_is_the_same_when_it_joins_midway(model: Model, run, alone, mixed_requests, error):
    engine = Engine(model, max_images=5)
    futures = []
    for request in mixed_requests:
        futures.append(engine.submit(request))
        engine.step()
    run(engine)

    for future, latents in zip(futures, alone, strict=True):
        assert error(future.result(0).latents, latents) < 1e-5


def test_a_picture_is_the_same_beside_other_sizes(model: Model, run, draw_alone, error):
    requests = [_request(seed=i, height=64 + 8 * (i % 3)) for i in range(6)]
    engine = Engine(model, max_images=2)
    futures = [engine.submit(r) for r in requests]
    run(engine)

    for request, future in zip(requests, futures, strict=True):
        assert error(future.result(0).latents, draw_alone(request).latents) < 1e-5


def test_order_and_spacing_change_the_picture(draw_alone, error):
    plain = draw_alone(_request()).latents

    for changed in ({"lms_order": 1}, {"lms_order": 2}, {"karras_sigmas": True}, {"negative_prompt": "x"}, {"seed": 5}):
        assert error(draw_alone(_request(**changed)).latents, plain) > 1e-3
