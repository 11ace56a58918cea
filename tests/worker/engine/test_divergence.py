"""Latents out of their model's range: the picture is kept, refused or drawn again, as its job says, with the cure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sigmafarm_common.errors import PictureNotFinite, TrajectoryDiverged
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.drift import Drift
from sigmafarm_worker.engine.lane import Lane
from sigmafarm_worker.models.latent_range import LatentRange, measure
from sigmafarm_worker.sampling.lms import Schedule
from sigmafarm_worker.sampling.table import Kept, Level, factors, seen


def request(**said: Any) -> RenderRequest:
    return RenderRequest.parse({"prompt": "a cat", "num_inference_steps": 5, "seed": 1, **said})


@pytest.fixture
def strict(model):
    """A model to whose range no picture of it comes."""
    return replace(model, latent_range=LatentRange(max_rms=1e-3))


def drawn(model, run, **said: Any):
    engine = Engine(model)
    future = engine.submit(request(**said))
    run(engine)
    return future.result(0)


def test_a_picture_out_of_range_is_kept_with_a_warning_that_names_the_cure(strict, model, run):
    found = drawn(strict, run)

    (warning,) = found.warnings
    assert warning.code == "trajectory_diverged"
    assert "the latents after 5 steps of lms of order 4, guidance 7.5 are " in warning.text
    assert "(root mean square), more than 0.001: the picture may be blotches; try lms_order = 2, or" in warning.text
    assert 'or on_divergence = "lower_order"' in warning.text
    np.testing.assert_array_equal(found.pixels, drawn(model, run).pixels)


def test_a_picture_within_range_has_no_warning_and_a_model_without_figures_has_no_range(model, run):
    assert drawn(replace(model, latent_range=LatentRange(max_rms=1e4)), run).warnings == ()
    assert model.latent_range == LatentRange()
    assert drawn(model, run, guidance_scale=100).warnings == ()


def test_a_job_that_asks_for_it_fails_out_of_range_and_its_neighbours_do_not(strict, run):
    engine = Engine(strict)
    ill, well = engine.submit(request(on_divergence="fail")), engine.submit(request(seed=2))
    run(engine)

    with pytest.raises(TrajectoryDiverged, match=r"more than 0.001: .*lms_order = 2, or karras_sigmas = true"):
        ill.result(0)
    assert well.result(0).seed == 2
    assert (engine.stats.num_done, engine.stats.num_failed) == (1, 1)


def test_a_job_that_asks_for_it_is_drawn_again_with_lower_orders_until_it_is_in_range(model, run, draw_alone):
    """On a random model the lowest order's latents are the largest: upside down, 'out of range' is below a figure."""
    rms = {order: _rms(draw_alone(request(lms_order=order, guidance_scale=60)).latents) for order in (4, 2, 1)}
    assert max(rms[4], rms[2]) < rms[1], rms
    upside_down = replace(model, latent_range=AtLeast((max(rms[4], rms[2]) + rms[1]) / 2))
    steps: list[int] = []
    engine = Engine(upside_down)
    said = request(guidance_scale=60, on_divergence="lower_order")
    again = engine.submit(said, on_step=lambda step, _: steps.append(step))
    run(engine)

    found = again.result(0)
    assert [w.code for w in found.warnings] == ["lower_order"]
    assert "it was drawn again with lms_order = 1" in found.warnings[0].text
    assert found.request.lms_order == 1
    np.testing.assert_array_equal(found.pixels, draw_alone(request(lms_order=1, guidance_scale=60)).pixels)
    assert steps == [1, 2, 3, 4, 5] * 3
    assert (engine.stats.num_done, engine.stats.num_failed, engine.stats.num_occupied) == (1, 0, 0)


class AtLeast(LatentRange):
    """A range that latents are out of below a figure."""

    def excess(self, figures):
        return f"{figures[0]:g}, too few" if figures[0] < self.max_rms else ""


@pytest.mark.parametrize(
    ("said", "codes"), [({}, ["lower_order", "trajectory_diverged"]), ({"sampler": "euler"}, ["trajectory_diverged"])]
)
def test_where_no_order_helps_the_picture_is_kept_and_says_so(said, codes, strict, run):
    found = drawn(strict, run, on_divergence="lower_order", **said)

    assert [w.code for w in found.warnings] == codes
    assert "lower_order" not in found.warnings[-1].text


def test_a_job_that_is_drawn_again_can_be_dropped_meanwhile(strict, run):
    engine = Engine(strict)
    future = engine.submit(request(on_divergence="lower_order"))
    for _ in range(6):
        engine.step()

    engine.drop(future, "its batch was cancelled")
    run(engine)

    with pytest.raises(Exception, match="its batch was cancelled"):
        future.result(0)
    assert engine.stats.num_occupied == 0


def test_figures_beyond_float32_are_out_of_range_and_a_vae_that_cannot_draw_them_is_not_to_blame(
    strict, run, monkeypatch
):
    monkeypatch.setattr(Lane, "latents", lambda self, slots: torch.full((len(slots), 4, 8, 8), 1e30))

    with pytest.raises(
        PictureNotFinite, match=r"decoded picture is not finite \(in float32\): the latents after 5 steps"
    ):
        drawn(strict, run)
    with pytest.raises(TrajectoryDiverged, match=r"are beyond float32 \(root mean square\), more than 0.001"):
        drawn(strict, run, on_divergence="fail")


def test_the_largest_value_counts_too():
    x_BCHW = torch.zeros(2, 4, 8, 8)
    x_BCHW[1, 2, 3, 4] = -6.0
    figures_3B = measure(x_BCHW, torch.zeros(2)).tolist()
    limits = LatentRange(max_rms=1, max_peak=5)

    assert limits.excess([figures_B[0] for figures_B in figures_3B]) == ""
    assert limits.excess([figures_B[1] for figures_B in figures_3B]) == "6 (largest value), more than 5"


# The drift


@pytest.mark.parametrize(("order", "karras_sigmas"), [(1, False), (4, True)])
def test_the_drift_is_what_its_formula_says(order, karras_sigmas, model, run, monkeypatch):
    """Against the formula in float64, over what the network was really asked and said, without the table."""
    asked: list[tuple[Tensor, Tensor]] = []
    monkeypatch.setattr(Drift, "add", _noting(asked, Drift.add))
    found = drawn(with_drift(model), run, num_inference_steps=8, lms_order=order, karras_sigmas=karras_sigmas)

    sigmas = Schedule.make(8, lms_order=order, karras_sigmas=karras_sigmas, **model.scheduler).sigmas
    weights = np.maximum(-np.diff(np.log(np.clip(sigmas, 0.1, 1.5))), 0)
    away = [
        np.square((x - sigma * out).double().numpy()[0] - found.latents.astype(np.float64)).mean()
        for sigma, (x, out) in zip(sigmas, asked, strict=False)
    ]
    assert len(away) == 8
    assert np.count_nonzero(weights) > 1
    assert found.figures[2] == pytest.approx(np.sqrt(np.average(away, weights=weights)), rel=1e-4)


def test_the_drift_is_the_same_alone_and_in_company(model, run):
    several = [request(seed=n, num_inference_steps=steps) for n, steps in enumerate((7, 3, 5, 4))]
    engine = Engine(with_drift(model), max_images=3)
    together = [engine.submit(each) for each in several]
    run(engine)

    for each, future in zip(several, together, strict=True):
        alone = Engine(with_drift(model))
        other = alone.submit(each)
        run(alone)
        assert future.result(0).figures == pytest.approx(other.result(0).figures, rel=1e-4)
        assert future.result(0).figures[2] > 0


def test_a_drift_out_of_range_is_told_in_words(model, run):
    (warning,) = drawn(with_drift(model, 1e-3), run).warnings

    assert warning.code == "trajectory_diverged"
    assert (
        "(distance from what the network saw on the way), more than 0.001: the picture may be blotches" in warning.text
    )
    assert drawn(with_drift(model, 1e-3), run, on_divergence="lower_order").request.lms_order == 1


def test_a_model_that_says_nothing_of_the_drift_measures_none(model, run):
    assert drawn(model, run).figures[2] == 0


@pytest.mark.parametrize("drift", [math.inf, math.nan])
def test_a_drift_beyond_float32_is_out_of_range_where_there_is_one(drift):
    said = "beyond float32 (distance from what the network saw on the way), more than 0.4"

    assert LatentRange(max_drift=0.4).excess([1, 1, drift]) == said
    assert LatentRange(max_rms=2).excess([1, 1, drift]) == ""


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_what_calls_count_adds_up_to_the_way_through_the_late_noise_levels(prediction_type):
    levels = [Level(1, sigma) for sigma in (14.6, 2.0, 1.0, 0.5, 0.05)]
    d_N, e_N, w_N = seen(levels, prediction_type).T

    assert w_N.sum() == pytest.approx(1)
    assert w_N[[0, 4]].tolist() == [0, 0]
    assert (d_N[0], e_N[0]) == (0, 0)
    assert (d_N[2], e_N[2]) == factors(Kept.X0, levels[2], prediction_type)


def test_a_run_that_starts_below_them_has_no_drift():
    drift = Drift(torch.zeros(2, 4, 8, 8))
    drift.add(torch.ones(2, 4, 8, 8), torch.ones(2, 4, 8, 8), torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.5]]))

    assert drift.of([1, 0], torch.zeros(2, 4, 8, 8)).tolist() == [3, 0]


def test_what_a_mask_leaves_as_it_is_does_not_drift():
    drift, mask_1HW = Drift(torch.zeros(2, 4, 8, 8)), torch.zeros(1, 8, 8)
    mask_1HW[:, :, :2] = 1
    x_2CHW = torch.where(mask_1HW > 0, 3.0, 100.0).expand(2, 4, 8, 8)
    drift.begin(0, mask_1HW)
    drift.add(x_2CHW, x_2CHW, torch.tensor([[1.0, 0.0, 0.5]] * 2))

    assert drift.of([0], torch.zeros(1, 4, 8, 8)).tolist() == [3]
    assert drift.of([1], torch.zeros(1, 4, 8, 8)).item() > 50


def test_a_place_forgets_the_mask_of_its_last_owner(model, run):
    engine, pixels = Engine(with_drift(model), max_images=1), np.full((model.height, model.width, 3), 200, np.uint8)
    half = np.zeros((model.height, model.width), np.uint8)
    half[:, : model.width // 2] = 255
    masked, plain = engine.submit(request(), init_image=pixels, mask_image=half), engine.submit(request(seed=2))
    run(engine)

    assert masked.result(0).figures[2] > 0
    assert plain.result(0).figures == pytest.approx(drawn(with_drift(model), run, seed=2).figures, rel=1e-4)


def _noting(asked, add):
    def noted(self, x_SCHW, cond_SCHW, seen_S3):
        asked.append((x_SCHW.clone(), cond_SCHW.clone()))
        add(self, x_SCHW, cond_SCHW, seen_S3)

    return noted


def with_drift(model, limit: float = 1e9):
    return replace(model, latent_range=LatentRange(max_drift=limit))


# What a sigmafarm.json says


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (3, "latent_range is 3: must be an object with max_rms, max_peak, max_drift"),
        ({"max": 3}, "latent_range has 'max': only max_rms, max_peak, max_drift are known"),
        ({"max_rms": 0}, "latent_range.max_rms is 0: must be a number above 0"),
        ({"max_peak": "5"}, "latent_range.max_peak is '5': must be a number above 0"),
        ({"max_drift": -1}, "latent_range.max_drift is -1: must be a number above 0"),
    ],
)
def test_a_range_that_cannot_be_read_is_refused_with_its_value(said, words):
    with pytest.raises(ValueError, match=words):
        LatentRange.parse(said)


def _rms(x_CHW: np.ndarray) -> float:
    return float(np.sqrt(np.square(x_CHW).mean()))
