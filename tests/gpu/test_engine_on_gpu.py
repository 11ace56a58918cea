"""The engine on a GPU: captured graphs, fp16, no build after warm-up, the same pictures as on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.graph_pass import NUM_TO_EARN
from sigmafarm_worker.engine.unet_pass import EagerPass
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder, device="cuda")


@pytest.fixture(scope="module")
def requests() -> list[RenderRequest]:
    return [
        RenderRequest(prompt=f"thing {i}", num_inference_steps=5 + i % 7, guidance_scale=1 + i % 4, seed=i)
        for i in range(24)
    ]


def draw(engine: Engine, requests: Sequence[RenderRequest]) -> list[Rendered]:
    futures = [engine.submit(r) for r in requests]
    while engine.step():
        pass
    return [future.result(0) for future in futures]


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_latents_in_fp16_are_within_a_hundredth_of_float32_on_the_cpu(model, folder, requests):
    on_gpu, on_cpu = draw(Engine(model), requests), draw(Engine(load_model(folder)), requests)

    assert model.dtype is torch.float16
    for found, wanted in zip(on_gpu, on_cpu, strict=True):
        assert error(found.latents, wanted.latents) < 1e-2


def test_latents_in_float32_are_those_of_the_cpu(folder, requests):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    on_gpu = draw(Engine(load_model(folder, device="cuda", dtype=torch.float32)), requests)

    for found, wanted in zip(on_gpu, draw(Engine(load_model(folder)), requests), strict=True):
        assert error(found.latents, wanted.latents) < 1e-4


def test_a_picture_is_the_same_alone_and_in_company(model, requests):
    together = draw(Engine(model), requests)

    for request, found in zip(requests[:6], together, strict=False):
        assert error(found.latents, draw(Engine(model), [request])[0].latents) < 1e-2


def test_graphs_give_what_eager_passes_give(model, requests):
    eager, captured = Engine(model), Engine(model)
    eager._stepper.unet_passes = {model.name: EagerPass(model)}
    captured.warm_up()
    assert captured.stats.num_builds > 0, "its native size is captured"

    for found, wanted in zip(draw(captured, requests), draw(eager, requests), strict=True):
        assert error(found.latents, wanted.latents) < 1e-2


def test_nothing_is_built_after_warm_up_and_padding_stays_below_three_percent(model, requests):
    engine = Engine(model)
    engine.warm_up()
    built = engine.stats.num_builds

    draw(engine, requests)

    assert engine.stats.num_builds == built > 0
    assert engine.stats.num_padded_rows / engine.stats.num_rows <= 0.03


def test_another_size_than_the_native_one_is_captured_once_it_has_earned_it(model):
    engine = Engine(model)
    engine.warm_up()
    built = engine.stats.num_builds
    sizes = [RenderRequest(prompt="x", num_inference_steps=3, width=w, seed=1) for w in (64, 96, 128)]

    assert [r.pixels.shape for r in draw(engine, sizes)] == [(64, 64, 3), (64, 96, 3), (64, 128, 3)]
    assert engine.stats.num_builds == built

    long = RenderRequest(prompt="x", num_inference_steps=NUM_TO_EARN + 2, width=96, seed=1)
    assert draw(engine, [long])[0].pixels.shape == (64, 96, 3)
    assert engine.stats.num_builds == built + 1


def test_the_number_of_pictures_is_chosen_by_the_memory_that_is_left(model):
    engine = Engine(model, None)

    engine.warm_up()

    assert 1 <= engine.max_images <= 16
    assert engine.max_pixels[model.name] > model.height * model.width


def test_attention_is_measured_on_all_kernels_that_the_device_has(model):
    engine = Engine(model, 4)

    engine.warm_up()

    passes = engine._stepper.unet_passes[model.name]
    assert len(passes._inner._attention) in (0, 4)


def test_a_picture_decoded_in_tiles_is_nearly_the_whole_ones(model):
    x = torch.randn(1, 4, 64, 96, device=model.device)

    (whole, _), (tiled, is_finite) = model.decode(x), model.decode_in_tiles(x)

    assert is_finite.all()
    assert (whole.float() - tiled.float()).abs().mean() < 0.1 * whole.float().std()


@pytest.mark.slow
def test_compiled_kernels_draw_the_same_pictures(model, requests):
    engine = Engine(model, is_compiled=True)
    engine.warm_up()

    for found, wanted in zip(draw(engine, requests), draw(Engine(model), requests), strict=True):
        assert error(found.latents, wanted.latents) < 1e-2
