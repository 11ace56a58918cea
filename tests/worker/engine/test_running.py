"""An engine in a thread of its own: submits from many, stops, starts again, signs of life, warm-up."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from sigmafarm_common.errors import (
    Dropped,
    EngineStopped,
)
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models.latent_range import LatentRange
from tests.limits import LIMIT_S
from tests.worker.engine.passes import BreaksAt, request, use_pass


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
