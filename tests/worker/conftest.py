"""One tiny random checkpoint for all tests of the engine, and two ways to draw with it: ours, and diffusers' own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint
from tests.worker.light_model import lighten


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Stable Diffusion 1.x's format; 8 x 8 latents. Read only: copy it to change it."""
    return make_random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def v_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a UNet that is taken to predict v."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny-v"
    return make_random_checkpoint(folder, prediction_type="v_prediction")


@pytest.fixture(scope="session")
def inpainting_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a UNet of nine channels, which sees what a mask leaves."""
    return make_random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny-inpainting", in_channels=9)


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> Model:
    return load_model(checkpoint)


@pytest.fixture(scope="session")
def light(model: Model) -> Model:
    """The same model with networks that cost next to nothing, where a test is of the engine and not of the networks."""
    return lighten(model)


@pytest.fixture
def engine(light: Model) -> Engine:
    """An engine of four slots that only moves when a test calls step()."""
    return Engine(light, max_images=4)


@pytest.fixture(scope="session")
def run() -> Callable[[Engine], None]:
    """Steps an engine until it has nothing to do."""

    def run(engine: Engine) -> None:
        while engine.step():
            pass

    return run


@pytest.fixture(scope="session")
def draw_alone(model: Model, run: Callable[[Engine], None]) -> Callable[..., Rendered]:
    """Draws one request in an engine of its own."""

    def draw_alone(request: RenderRequest, model: Model = model, **pictures: Any) -> Rendered:
        engine = Engine(model)
        future = engine.submit(request, **pictures)
        run(engine)
        return future.result(0)

    return draw_alone


@pytest.fixture(scope="session")
def reference() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Draws one request with diffusers' StableDiffusionPipeline and LMSDiscreteScheduler: latents and pixels."""
    pipelines: dict[Path, Any] = {}

    def reference(folder: Path, request: RenderRequest) -> tuple[np.ndarray, np.ndarray]:
        if folder not in pipelines:
            pipelines[folder] = _pipeline(folder)
        pipe = pipelines[folder]
        karras = bool(request.karras_sigmas)
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, use_karras_sigmas=karras)
        latents = pipe(
            request.prompt,
            negative_prompt=request.negative_prompt,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            height=request.height,
            width=request.width,
            generator=torch.Generator("cpu").manual_seed(request.seed or 0),
            output_type="latent",
        ).images
        with torch.inference_mode():
            image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
        picture = pipe.image_processor.postprocess(image, output_type="pil")[0]
        return latents[0].numpy(), np.asarray(picture)

    return reference


def _pipeline(folder: Path) -> Any:
    from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    assert isinstance(pipe.scheduler, LMSDiscreteScheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def error() -> Callable[[np.ndarray, np.ndarray], float]:
    """Relative norm of the difference of two arrays."""

    def error(found: np.ndarray, wanted: np.ndarray) -> float:
        return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))

    return error


@pytest.fixture(scope="session")
def mixed_requests() -> Iterable[RenderRequest]:
    """Twelve requests of one size with mixed steps, guidance, orders and spacing."""
    return [
        RenderRequest(
            prompt=f"thing number {i}",
            negative_prompt="grey" if i % 2 else None,
            num_inference_steps=3 + 5 * (i % 5),
            guidance_scale=(1.0, 7.5, 3.0, 12.0)[i % 4],
            lms_order=1 + i % 4,
            karras_sigmas=i % 3 == 0,
            seed=i,
        )
        for i in range(12)
    ]
