"""Slots are filled as long as there is work, and with whom; what padding and company change: no picture."""

from __future__ import annotations

from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.slot import LaneKey
from sigmafarm_worker.models import load_model
from tests.worker.engine.passes import Padded, request, use_pass


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
