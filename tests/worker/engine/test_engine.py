"""What an engine does with a request: settings, progress, glimpses, and ends that are not pictures."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sigmafarm_common.errors import (
    Dropped,
    InvalidRequest,
    PictureNotFinite,
    UnknownModel,
)
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.slot import LaneKey
from sigmafarm_worker.models import load_model
from sigmafarm_worker.sampling.lms import Schedule
from tests.worker.engine.passes import request


def test_settings_left_out_come_from_the_model_then_the_farm(model, run):
    kind = replace(model, defaults={**model.defaults, "num_inference_steps": 2, "guidance_scale": 3.0})
    engine = Engine(kind)
    future = engine.submit(RenderRequest(prompt="x"))
    run(engine)

    drawn = future.result(0)
    assert (drawn.num_inference_steps, drawn.request.guidance_scale) == (2, 3.0)
    assert (drawn.request.height, drawn.request.width, drawn.request.model) == (64, 64, model.name)
    assert drawn.seed == drawn.request.seed is not None
    assert drawn.seconds > 0


def test_the_recorded_settings_draw_the_same_picture_again(model, run, draw_alone):
    engine = Engine(model)
    future = engine.submit(RenderRequest(prompt="x", num_inference_steps=3))
    run(engine)

    again = draw_alone(future.result(0).request)
    np.testing.assert_array_equal(again.pixels, future.result(0).pixels)


def test_words_that_do_not_fit_are_counted(engine, run):
    future = engine.submit(request(prompt="abc " * 100))
    run(engine)

    (warning,) = future.result(0).warnings
    assert warning.code == "prompt_cut"
    assert warning.text.startswith(f"the last {3 * 100 + 2 - 77} tokens of the prompt did not fit and were not drawn")


def test_engine_of_two_models_draws_with_the_one_that_is_named(model, v_checkpoint, run, draw_alone):
    other = load_model(v_checkpoint)
    engine = Engine({"plain": replace(model, name="plain"), "v": replace(other, name="v")})
    futures = [engine.submit(request(model=name)) for name in ("plain", "v", None)]
    run(engine)

    plain, v, unnamed = (f.result(0).latents for f in futures)
    np.testing.assert_array_equal(plain, unnamed)
    np.testing.assert_array_equal(v, draw_alone(request(), other).latents)


def test_on_step_is_called_after_each_step_of_its_job(engine, run):
    calls: list[tuple[int, int]] = []
    engine.submit(request(num_inference_steps=5))
    engine.step()
    engine.submit(request(num_inference_steps=3), on_step=lambda done, total: calls.append((done, total)))
    run(engine)

    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_latents_can_be_seen_between_two_steps(engine):
    future = engine.submit(request())
    assert engine.latents_of(future) is None

    engine.step()
    first = engine.latents_of(future)
    engine.step()
    second = engine.latents_of(future)

    assert first is not None
    assert second is not None
    assert (first.shape, first.dtype) == ((4, 8, 8), torch.float32)
    assert not torch.equal(first, second)


def test_glimpse_is_where_an_euler_step_to_the_end_would_lead(engine):
    future = engine.submit(request(num_inference_steps=6, lms_order=1))
    engine.step()
    before = engine.latents_of(future)
    engine.step()
    after = engine.latents_of(future)

    (glimpse,) = engine.glimpses()

    (model,) = engine.models.values()
    sigmas = Schedule.make(6, **{**model.scheduler, "lms_order": 1}).sigmas
    derivative = (after - before) / (sigmas[2] - sigmas[1])
    foreseen = (after - sigmas[2] * derivative).numpy()
    wanted = model.preview.pixels(foreseen.astype(np.float32))
    assert (glimpse.future, glimpse.step, glimpse.pixels.shape) == (future, 2, (8, 8, 3))
    assert np.abs(glimpse.pixels.astype(int) - wanted).max() <= 1


def test_last_latents_seen_are_none_once_the_job_is_done(engine, run):
    future = engine.submit(request())
    run(engine)

    assert engine.latents_of(future) is None


def test_drop_frees_the_slot_of_a_job_inside_and_of_one_that_waits(model, run):
    engine = Engine(model, max_images=1)
    inside, waiting, last = (engine.submit(request(seed=i)) for i in range(3))
    engine.step()

    engine.drop(inside, "cancelled by its owner")
    engine.drop(waiting, "its lease was lost")
    run(engine)

    with pytest.raises(Dropped, match="cancelled by its owner"):
        inside.result(0)
    with pytest.raises(Dropped, match="its lease was lost"):
        waiting.result(0)
    assert last.result(0).seed == 2


def test_drop_leaves_the_neighbours_pictures_alone(model, run, draw_alone, error):
    engine = Engine(model, max_images=3)
    futures = [engine.submit(request(num_inference_steps=6, seed=i)) for i in range(3)]
    engine.step()
    engine.drop(futures[0], "cancelled")
    run(engine)

    for i in (1, 2):
        alone = draw_alone(request(num_inference_steps=6, seed=i))
        assert error(futures[i].result(0).latents, alone.latents) < 1e-5


def test_drop_of_a_finished_job_does_nothing(engine, run):
    future = engine.submit(request())
    run(engine)
    engine.drop(future, "too late")
    engine.step()

    assert future.result(0).seed == 1


def test_a_future_cancelled_before_it_joined_is_never_drawn(engine, run):
    future, other = engine.submit(request()), engine.submit(request(seed=2))
    assert future.cancel()
    run(engine)

    with pytest.raises(CancelledError):
        future.result(0)
    assert other.result(0).seed == 2
    assert engine.stats.num_rows == 4 * 2


def test_latents_that_are_not_finite_are_reported_and_their_slot_can_be_used_again(model, run, draw_alone, error):
    engine = Engine(model, max_images=1)
    ill, well = engine.submit(request()), engine.submit(request(seed=2))
    engine.step()
    engine._stepper.lanes[LaneKey(model.name, 64, 64)]._x_SCHW[0] = torch.inf
    run(engine)

    with pytest.raises(PictureNotFinite, match=r"latents after 4 steps.* are not finite: the UNet of model .tiny."):
        ill.result(0)
    assert error(well.result(0).latents, draw_alone(request(seed=2)).latents) < 1e-6


def test_an_unknown_model_fails_its_future_alone(engine, run):
    bad, good = engine.submit(request(model="sdxl")), engine.submit(request())
    run(engine)

    with pytest.raises(UnknownModel, match="model is 'sdxl': this farm knows tiny"):
        bad.result(0)
    assert good.done()


def test_a_size_that_the_vae_cannot_make_is_named_with_the_nearest(model):
    class Coarse:
        def __getattr__(self, name: str) -> Any:
            return 16 if name == "vae_factor" else getattr(model, name)

    engine = Engine(model)
    engine.models = {model.name: Coarse()}  # type: ignore[dict-item]

    with pytest.raises(InvalidRequest, match=r"height is 72: must be a multiple of 16 .* nearest 64 or 80"):
        engine.submit(request(height=72)).result(0)
