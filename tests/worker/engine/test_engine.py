"""The engine's conduct: filling slots, dropping, failing one job at a time, stopping, counting."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.errors import (
    Dropped,
    EngineStopped,
    InvalidRequest,
    OutOfDeviceMemory,
    PictureNotFinite,
    RenderError,
    UnknownModel,
)
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.frugal_pass import FIRST_LIMIT_S, FrugalPass
from sigmafarm_worker.engine.graph_pass import bucket
from sigmafarm_worker.engine.slot import LaneKey
from sigmafarm_worker.engine.unet_pass import EagerPass, UnetPass
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models.latent_range import LatentRange
from sigmafarm_worker.sampling.lms import Schedule
from tests.limits import LIMIT_S


def request(**said: Any) -> RenderRequest:
    return RenderRequest.parse({"prompt": "a cat", "num_inference_steps": 4, "seed": 1, **said})


class BreaksAt(EagerPass):
    """A pass that raises when the first row's timestep is the given one."""

    def __init__(self, model: Model, error: Exception, at_pass: int = 0):
        super().__init__(model)
        self.error, self.left = error, at_pass

    def __call__(self, *args: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left == -1:
            raise self.error
        return super().__call__(*args)


class Padded(EagerPass):
    """An eager pass that pads to the buckets of the GPU's."""

    def padded(self, num_rows: int, latent_height: int, latent_width: int) -> int:
        return bucket(num_rows)


def use_pass(engine: Engine, unet_pass: UnetPass) -> None:
    engine._stepper.unet_passes = dict.fromkeys(engine.models, unet_pass)


# Filling


def test_slots_stay_filled_while_requests_of_mixed_steps_wait(light, run):
    engine = Engine(light, max_images=6)
    for i, num_steps in enumerate((8, 80, 20, 50, 12, 33, 8, 64, 25, 16, 40, 10, 9, 71, 30, 18)):
        engine.submit(request(num_inference_steps=num_steps, guidance_scale=1, seed=i))
    run(engine)

    stats = engine.stats
    assert stats.num_slots_offered_under_load > 200
    assert stats.num_slot_steps_under_load / stats.num_slots_offered_under_load >= 0.9
    assert stats.num_done == 16


def test_lanes_of_two_sizes_are_both_filled_under_load(light, run):
    engine = Engine(light, max_images=4)
    for i in range(24):
        steps = 8 + (i * 7) % 25
        engine.submit(request(num_inference_steps=steps, guidance_scale=1, width=64 + 8 * (i % 2), seed=i))
    run(engine)

    stats = engine.stats
    assert stats.num_slot_steps_under_load / stats.num_slots_offered_under_load >= 0.9


def test_what_would_only_slow_a_lane_waits_unless_it_is_short_or_more_wait_than_fit(light, run):
    engine = Engine(light, max_images=6)
    for num_rows in (1, 2, 4):
        for _ in range(20):
            engine._stepper.row_costs.note(LaneKey(light.name, 64, 64), num_rows, 1e-4 * num_rows)
    long = [engine.submit(request(num_inference_steps=40, guidance_scale=5, seed=n)) for n in range(3)]
    engine.step()
    assert (engine.stats.num_occupied, engine.stats.num_waiting) == (1, 2)

    short = engine.submit(request(num_inference_steps=2, guidance_scale=5, seed=8))
    engine.step()
    engine.step()
    assert short.done()
    assert (engine.stats.num_occupied, engine.stats.num_waiting) == (1, 2)

    more = [engine.submit(request(num_inference_steps=40, guidance_scale=5, seed=9 + n)) for n in range(4)]
    engine.step()
    assert (engine.stats.num_occupied, engine.stats.num_waiting) == (6, 1)
    run(engine)
    assert all(each.result(0).pixels.shape == (64, 64, 3) for each in (*long, *more))


def test_a_pass_over_other_pictures_than_the_one_before_is_not_taken_for_what_its_rows_cost(light, run, monkeypatch):
    engine, are_new = Engine(light, max_images=1), list[bool]()
    monkeypatch.setattr(engine._stepper.row_costs, "note", lambda *_, is_new: are_new.append(is_new))
    for seed in range(2):
        engine.submit(request(num_inference_steps=9, guidance_scale=1, seed=seed))
    run(engine)

    assert are_new == 2 * [True, *[False] * 8]


def test_a_request_joins_at_the_next_step_and_leaves_after_its_last(engine):
    long = engine.submit(request(num_inference_steps=9))
    engine.step()
    short = engine.submit(request(num_inference_steps=2))

    engine.step()
    assert (engine.stats.num_occupied, short.done()) == (2, False)
    engine.step()
    assert (engine.stats.num_occupied, short.done(), long.done()) == (1, True, False)


def test_idle_engine_says_so(engine):
    assert engine.step() is False


def test_larger_pictures_get_fewer_slots(model):
    engine = Engine(model, max_images=16)

    assert engine.capacity(LaneKey(model.name, 64, 64)) == 16
    assert engine.capacity(LaneKey(model.name, 128, 64)) == 8
    assert engine.capacity(LaneKey(model.name, 2048, 2048)) == 1


def test_rows_are_two_for_guided_jobs_and_one_for_others(engine, run):
    engine.submit(request(guidance_scale=1, num_inference_steps=3))
    engine.submit(request(guidance_scale=5, num_inference_steps=3))
    run(engine)

    assert engine.stats.num_rows == 3 * (1 + 2)


def test_padding_rows_change_no_picture_and_are_counted(light, run, draw_alone, error):
    requests = [request(guidance_scale=1 + i % 2, num_inference_steps=5, seed=i) for i in range(7)]
    engine = Engine(light, max_images=8)
    use_pass(engine, Padded(light))
    futures = [engine.submit(r) for r in requests]
    run(engine)

    assert (engine.stats.num_rows, engine.stats.num_padded_rows) == (5 * 10, 0)
    for r, future in zip(requests, futures, strict=True):
        assert error(future.result(0).latents, draw_alone(r, light).latents) < 1e-5


def test_padding_under_a_mixed_load_is_below_three_percent(light, run):
    engine = Engine(light, max_images=16)
    use_pass(engine, Padded(light))
    for i in range(48):
        engine.submit(request(num_inference_steps=1 + i % 9, guidance_scale=1 + i % 3, seed=i))
    run(engine)

    assert engine.stats.num_padded_rows / engine.stats.num_rows <= 0.03


def test_each_prompt_is_encoded_once_and_those_that_join_together_in_one_pass(checkpoint, run):
    model = load_model(checkpoint)
    engine = Engine(model, max_images=4)
    for i in range(8):
        engine.submit(request(prompt=f"cat {i % 4}", seed=i))
    run(engine)

    assert model.prompts.num_passes == 1


# Settings


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


# Progress and previews


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


# Ends that are not pictures


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


class Small(Padded):
    """A device that has memory for so many rows."""

    def __init__(self, model: Model, max_rows: int):
        super().__init__(model)
        self.max_rows, self.refused, self.made = max_rows, list[int](), list[int]()

    def __call__(self, x_RCHW: torch.Tensor, t_R: torch.Tensor, emb_RTD: torch.Tensor) -> torch.Tensor:
        if len(x_RCHW) > self.max_rows:
            self.refused.append(len(x_RCHW))
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert bucket(len(x_RCHW)) == len(x_RCHW), "a captured graph has a bucket's rows"
        self.made.append(len(x_RCHW))
        return super().__call__(x_RCHW, t_R, emb_RTD)


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


# Running


def test_a_started_engine_draws_what_many_threads_submit(light, draw_alone, error):
    engine = Engine(light, max_images=4)
    engine.start()
    drawn: dict[int, np.ndarray] = {}

    def submit(seed: int) -> None:
        drawn[seed] = engine.submit(request(seed=seed, prompt=f"thing {seed}")).result(LIMIT_S).latents

    threads = [threading.Thread(target=submit, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    engine.stop()

    assert sorted(drawn) == list(range(8))
    assert error(drawn[3], draw_alone(request(seed=3, prompt="thing 3"), light).latents) < 1e-5


def test_stop_fails_what_is_left_and_may_be_called_twice(model):
    engine = Engine(model, max_images=1)
    began, go_on = threading.Event(), threading.Event()

    def hold(done: int, total: int) -> None:
        began.set()
        go_on.wait(LIMIT_S)

    inside = engine.submit(request(num_inference_steps=1000), hold)
    waiting = engine.submit(request())
    engine.start()
    assert began.wait(LIMIT_S)
    stopper = threading.Thread(target=engine.stop)
    stopper.start()
    go_on.set()
    stopper.join(30)
    engine.stop()

    for future in (inside, waiting):
        with pytest.raises(EngineStopped, match="the engine was stopped: submit the job again"):
            future.result(0)
    assert not engine.is_running


def test_submitting_to_a_stopped_engine_fails_at_once(engine):
    engine.start()
    engine.stop()

    with pytest.raises(EngineStopped):
        engine.submit(request()).result(0)


def test_an_engine_can_be_started_again(engine):
    engine.start()
    engine.stop()
    engine.start()

    assert engine.submit(request()).result(LIMIT_S).seed == 1
    engine.stop()


def test_a_broken_device_ends_the_loop_and_fails_every_job(model):
    engine = Engine(model, max_images=1)
    use_pass(engine, BreaksAt(model, torch.AcceleratorError("CUDA error: an illegal memory access"), at_pass=1))
    futures = [engine.submit(request(seed=i)) for i in range(2)]
    engine.start()

    for future in futures:
        with pytest.raises(EngineStopped, match="illegal memory access") as caught:
            future.result(LIMIT_S)
        assert caught.value.retryable
    engine.stop()
    assert not engine.is_running


def test_latents_are_seen_and_jobs_dropped_from_other_threads_while_it_runs(model):
    engine = Engine(model)
    began = threading.Event()
    future = engine.submit(request(num_inference_steps=1000), lambda done, total: began.set())
    engine.start()
    assert began.wait(LIMIT_S)

    latents = engine.latents_of(future)
    engine.drop(future, "cancelled")

    assert latents is not None
    with pytest.raises(Dropped):
        future.result(LIMIT_S)
    engine.stop()


def test_every_step_and_every_idle_look_is_a_sign_of_life(model):
    class Clock:
        now_s = 100.0

        def monotonic_s(self) -> float:
            self.now_s += 1
            return self.now_s

        def wait(self, event: threading.Event, timeout_s: float) -> bool:
            return event.is_set()

    engine = Engine(model, clock=Clock())
    before = engine.last_beat_s
    engine.step()
    idle = engine.last_beat_s
    engine.submit(request())
    engine.step()

    assert before < idle < engine.last_beat_s


def test_warm_up_measures_a_step_and_leaves_the_counters_at_nought(model):
    engine = Engine(model)

    step_s = engine.warm_up()

    assert step_s > 0
    assert engine.stats.step_s == step_s
    assert (engine.stats.num_steps, engine.stats.num_done, engine.stats.num_occupied) == (0, 0, 0)


def test_a_model_whose_mildest_picture_diverges_still_warms_up(model):
    strict = {"latent_range": LatentRange(max_rms=1e-3), "defaults": {**model.defaults, "on_divergence": "fail"}}

    assert Engine(replace(model, **strict)).warm_up() > 0
