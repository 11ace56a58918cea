"""One job's failure is its own: callbacks, passes, memory, text encoders, decoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.errors import (
    OutOfDeviceMemory,
    RenderError,
)
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.frugal_pass import FIRST_LIMIT_S, FrugalPass
from sigmafarm_worker.engine.unet_pass import EagerPass
from sigmafarm_worker.models import Model, load_model
from tests.worker.engine.passes import BreaksAt, Small, request, use_pass


def test_a_failing_callback_fails_its_job_alone(engine, run):
    def on_step(done: int, total: int) -> None:
        raise ValueError("progress bar broke")

    bad, good = engine.submit(request(), on_step), engine.submit(request(seed=2))
    run(engine)

    with pytest.raises(ValueError, match="progress bar broke"):
        bad.result(0)
    assert good.result(0).seed == 2


def test_a_failing_pass_fails_its_jobs_and_the_engine_goes_on(light, run):
    engine = Engine(light, max_images=2)
    use_pass(engine, BreaksAt(light, RuntimeError("shapes do not match\nlong trace"), at_pass=1))
    futures = [engine.submit(request(seed=i)) for i in range(3)]
    run(engine)

    for future in futures[:2]:
        with pytest.raises(RenderError, match=r"the pass failed: RuntimeError: shapes do not match$"):
            future.result(0)
    assert futures[2].result(0).seed == 2
    assert (engine.stats.num_failed, engine.stats.num_done) == (2, 1)


@pytest.mark.parametrize(
    "raised", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("[enforce fail] can't allocate memory")]
)
def test_memory_that_runs_out_is_an_error_that_can_be_retried(light, run, raised):
    engine = Engine(light)
    use_pass(engine, BreaksAt(light, raised))
    future = engine.submit(request())
    run(engine)

    with pytest.raises(OutOfDeviceMemory, match="lower max_images") as caught:
        future.result(0)
    assert caught.value.retryable


@pytest.mark.parametrize("max_rows", [1, 2, 3, 5, 9, 11])
def test_pass_without_memory_for_all_its_rows_is_made_in_parts_and_every_picture_is_the_same(
    light, run, draw_alone, error, max_rows
):
    small = Small(light, max_rows)
    engine = Engine(light, max_images=8)
    use_pass(engine, FrugalPass(small, SystemClock()))
    requests = [request(guidance_scale=1 + 4 * (i % 3), num_inference_steps=3 + i, seed=i) for i in range(12)]
    futures = [engine.submit(r) for r in requests]
    run(engine)

    for r, future in zip(requests, futures, strict=True):
        assert error(future.result(0).latents, draw_alone(r, light).latents) < 1e-5
    assert small.refused == sorted(set(small.refused), reverse=True), "no number of rows is asked for twice"
    assert (engine.stats.num_done, engine.stats.num_failed) == (12, 0)


def test_one_row_that_does_not_fit_fails_its_jobs_to_be_retried(light, run):
    engine = Engine(light)
    use_pass(engine, FrugalPass(Small(light, 0), SystemClock()))
    futures = [engine.submit(request(seed=i)) for i in range(2)]
    run(engine)

    for future in futures:
        with pytest.raises(OutOfDeviceMemory, match="lower max_images, or draw smaller pictures"):
            future.result(0)


def test_other_errors_of_a_pass_are_not_tried_in_parts(light, run):
    engine = Engine(light)
    use_pass(engine, FrugalPass(BreaksAt(light, RuntimeError("shapes do not match")), SystemClock()))
    future = engine.submit(request())
    run(engine)

    with pytest.raises(RenderError, match="shapes do not match"):
        future.result(0)


class SlowClock(SystemClock):
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


def test_a_pass_that_was_made_in_parts_is_tried_whole_again_after_minutes(light):
    small, clock = Small(light, 4), SlowClock()
    frugal, inputs = FrugalPass(small, clock), (torch.zeros(8, 4, 8, 8), torch.zeros(8), torch.zeros(8, 77, 32))

    def made(num_passes: int = 1) -> list[int]:
        small.made, small.refused = [], []
        for _ in range(num_passes):
            frugal(*inputs)
        return small.made

    assert (made(3), small.refused) == ([4, 4] * 3, [8])
    clock.now_s += FIRST_LIMIT_S
    assert (made(2), small.refused) == ([4, 4] * 2, [8]), "there is still no memory"
    clock.now_s += FIRST_LIMIT_S
    assert (made(), small.refused) == ([4, 4], []), "it waits longer after the second time"
    clock.now_s += FIRST_LIMIT_S
    small.max_rows = 8
    assert made(2) == [8, 8]


def test_a_step_over_larger_pictures_than_any_before_may_take_longer(light, run):
    """A worker is taken for dead when its engine stands still for some of its own steps."""
    engine = Engine(light, max_images=1)
    engine.submit(request(height=64, width=64))
    run(engine)
    before_s, during = engine.stats.step_s, list[float]()

    class Looks(EagerPass):
        def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
            during.append(engine.stats.step_s)
            return super().__call__(*inputs)

    use_pass(engine, Looks(light))
    engine.submit(request(height=256, width=256, num_inference_steps=1))
    run(engine)

    assert during[0] > 16 * before_s


def test_warm_up_builds_for_as_many_rows_as_there_is_memory_for(model):
    asked: list[int] = []

    class Builds(EagerPass):
        def warm_up(self, latent_height: int, latent_width: int, max_rows: int) -> None:
            asked.append(max_rows)
            if max_rows > 10:
                raise torch.OutOfMemoryError("CUDA out of memory")

    engine = Engine(model, max_images=16)
    use_pass(engine, FrugalPass(Builds(model), SystemClock()))

    assert engine.warm_up() > 0
    assert asked == [32, 16, 8]


def test_vae_without_memory_for_all_pictures_decodes_them_in_parts(light, run, draw_alone, monkeypatch):
    decode, decoded = type(light).decode, list[int]()

    def decode_few(self: Model, x_BCHW: torch.Tensor) -> torch.Tensor:
        if len(x_BCHW) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        decoded.append(len(x_BCHW))
        return decode(self, x_BCHW)

    engine = Engine(light, max_images=4)
    futures = [engine.submit(request(seed=i)) for i in range(4)]
    with monkeypatch.context() as patch:
        patch.setattr(type(light), "decode", decode_few)
        run(engine)

    assert decoded == [1, 1, 1, 1]
    for i, future in enumerate(futures):
        assert np.abs(future.result(0).pixels.astype(int) - draw_alone(request(seed=i), light).pixels).max() <= 1


def test_a_failing_text_encoder_fails_those_who_join_only(checkpoint, run, monkeypatch):
    model = load_model(checkpoint)
    engine = Engine(model)
    inside = engine.submit(request(num_inference_steps=6))
    engine.step()
    with monkeypatch.context() as patch:
        patch.setattr(model.prompts, "_encode", lambda prompts: 1 / 0)
        joining = engine.submit(request(prompt="never seen"))
        engine.step()
    run(engine)

    with pytest.raises(RenderError, match="ZeroDivisionError"):
        joining.result(0)
    assert inside.result(0).num_inference_steps == 6


def test_a_failing_vae_fails_the_pictures_that_it_decoded(model, run, monkeypatch):
    engine = Engine(model)
    future = engine.submit(request())
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "decode", lambda self, x: 1 / 0)
        run(engine)
    later = engine.submit(request())
    run(engine)

    with pytest.raises(RenderError, match="ZeroDivisionError"):
        future.result(0)
    assert later.result(0).seed == 1
