"""The tables of lms.py against the published figures, diffusers' scheduler, quadrature, and an analytic solution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LMSDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from sigmafarm_common.errors import InvalidSettings
from sigmafarm_worker.sampling.lms import MAX_ORDER, Schedule, lms_coefficients
from sigmafarm_worker.sampling.table import COEFFICIENTS, NOISE, NUM_FIRST, Kept, Level, factors

SD: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

#: Noise levels that fall to 0, each at most 0.95 of the one before.
falling_sigmas = st.lists(st.floats(0.2, 0.95), min_size=2, max_size=12).map(
    lambda ratios: np.append(14.6 * np.cumprod(ratios), 0.0)
)


def test_schedule_of_70_steps_has_the_published_figures():
    schedule = Schedule.make(70, num_train_timesteps=1000, **SD)

    timesteps = [999.0, 984.5217, 970.0435, 955.5652, 941.0870, 926.6087, 912.1304]
    sigmas = [14.6146, 13.3974, 12.3033, 11.3184, 10.4301, 9.6279, 8.9020, 8.2443, 7.6472, 7.1044]
    np.testing.assert_allclose(schedule.timesteps[:7], timesteps, atol=5e-5)
    np.testing.assert_allclose(schedule.sigmas[:10], sigmas, atol=5e-5)
    np.testing.assert_allclose(schedule.sigmas[-3:], [0.1174, 0.0292, 0.0], atol=5e-5)
    assert schedule.timesteps[-1] == 0
    assert schedule.init_noise_sigma == pytest.approx(14.6146, abs=5e-5)


def test_schedule_of_8_steps_has_the_published_coefficients():
    schedule = Schedule.make(8, **SD)

    sigmas = [14.6146, 6.6780, 3.5221, 2.0606, 1.2768, 0.7913, 0.4397, 0.0292, 0]
    np.testing.assert_allclose(schedule.sigmas, sigmas, atol=5e-5)
    published = {
        0: [-7.936629, 0, 0, 0],
        1: [-3.783426, 0.627473, 0, 0],
        2: [-1.925779, 0.514457, -0.050099, 0],
        3: [-1.121416, 0.403759, -0.068996, 0.002844],
        7: [-0.031155, 0.003486, -0.001781, 0.000282],
    }
    for step, wanted in published.items():
        np.testing.assert_allclose(schedule.coefficients[step], wanted, atol=1e-6)


def test_tables_have_the_promised_types_and_shapes_and_are_shared_read_only():
    schedule = Schedule.make(20, **SD)

    assert (schedule.timesteps.dtype, schedule.timesteps.shape) == (np.float32, (20,))
    assert (schedule.sigmas.dtype, schedule.sigmas.shape) == (np.float64, (21,))
    assert (schedule.coefficients.dtype, schedule.coefficients.shape) == (np.float64, (20, 4))
    assert Schedule.make(20, **SD) is schedule
    with pytest.raises(ValueError, match="read-only"):
        schedule.sigmas[0] = 1


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 50, 999])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"use_karras_sigmas": True},
        {"timestep_spacing": "leading", "steps_offset": 1},
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "trailing", "use_karras_sigmas": True},
        {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": [0.001 + i * 1e-5 for i in range(1000)]},
    ],
    ids=str,
)
def test_timesteps_and_sigmas_are_those_of_diffusers_to_the_last_bit(num_steps: int, changed: dict[str, Any]):
    config = {**SD, **changed}
    theirs = LMSDiscreteScheduler(**config)
    theirs.set_timesteps(num_steps)

    ours = Schedule.make(num_steps, **config)

    np.testing.assert_array_equal(ours.timesteps, theirs.timesteps.numpy())
    np.testing.assert_array_equal(ours.sigmas, theirs.sigmas.numpy().astype(np.float64))
    assert ours.init_noise_sigma == pytest.approx(float(theirs.init_noise_sigma), rel=1e-7)


def test_trailing_spacing_never_has_a_step_too_many():
    # arange(1000, 0, -1000 / 61) has 62 elements, by rounding; diffusers then makes 62 steps.
    schedule = Schedule.make(61, timestep_spacing="trailing", **SD)

    assert schedule.num_steps == 61
    assert schedule.timesteps.min() >= 0


@settings(max_examples=30, deadline=None)
@given(falling_sigmas, st.integers(1, 4))
def test_coefficients_are_the_integrals_of_the_lagrange_polynomials(sigmas: np.ndarray, order: int):
    coefficients = lms_coefficients(sigmas, order)

    for i in range(len(sigmas) - 1):
        nodes = sigmas[[i - k for k in range(min(i + 1, order))]]
        for k in range(MAX_ORDER):
            wanted = 0.0
            if k < len(nodes):
                others = np.delete(nodes, k)
                wanted = integrate.quad(
                    lambda tau, at=nodes[k], others=others: np.prod((tau - others) / (at - others)),
                    sigmas[i],
                    sigmas[i + 1],
                    epsabs=1e-13,
                )[0]
            assert coefficients[i, k] == pytest.approx(wanted, rel=1e-9, abs=1e-11)


@given(falling_sigmas, st.integers(1, 4))
def test_increments_of_a_constant_derivative_sum_to_the_change_of_sigma(sigmas: np.ndarray, order: int):
    coefficients = lms_coefficients(sigmas, order)

    np.testing.assert_allclose(coefficients.sum(axis=1), np.diff(sigmas), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("start", [0, 3])
def test_a_loop_over_the_table_is_the_loop_of_diffusers(prediction_type: str, start: int):
    num_steps, torch_outputs = 12, torch.randn(12, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs = LMSDiscreteScheduler(**SD, prediction_type=prediction_type)
    theirs.set_timesteps(num_steps)
    theirs.set_begin_index(start)
    schedule = Schedule.make(num_steps, prediction_type=prediction_type, **SD).starting_at(start, as_diffusers=True)
    x = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(2)) * schedule.sigmas[0]
    wanted = x.clone()
    for i in range(start, num_steps):
        theirs.scale_model_input(wanted, theirs.timesteps[i])
        wanted = theirs.step(torch_outputs[i], theirs.timesteps[i], wanted).prev_sample

    x, history = x.double().numpy(), []
    for i, row in enumerate(schedule.table().rows):
        _, c_in, a, b, alpha = row[:NUM_FIRST]
        assert (alpha, row[NOISE]) == (1, 0)
        assert c_in == pytest.approx((schedule.sigmas[i] ** 2 + 1) ** -0.5)
        history.insert(0, a * x + b * torch_outputs[start + i].numpy())
        x = x + sum(c_k * d for c_k, d in zip(row[COEFFICIENTS], history, strict=False))

    assert np.linalg.norm(x - wanted.numpy()) / np.linalg.norm(wanted.numpy()) < 1e-5


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_factors_of_the_noise_give_the_derivative_of_the_true_picture(prediction_type: str):
    rng = np.random.default_rng(0)
    picture, noise, sigmas = rng.normal(size=50), rng.normal(size=50), np.geomspace(14.6, 0.03, 50)
    x = picture + sigmas * noise
    output = {
        "epsilon": noise,
        "sample": picture,
        # v of the variance-preserving process: alpha noise - sigma' picture, alpha = 1/sqrt(sigma^2 + 1).
        "v_prediction": (noise - sigmas * picture) / np.sqrt(sigmas**2 + 1),
    }[prediction_type]

    levels = [Level(1.0, float(sigma)) for sigma in sigmas]
    a, b = np.array([factors(Kept.EPS, level, prediction_type) for level in levels]).T

    np.testing.assert_allclose(a * x + b * output, noise, rtol=1e-9, atol=1e-12)


def _solve(schedule: Schedule, x: float, spread: float) -> float:
    """Follow a schedule with the exact denoiser of pictures that are normal with the given spread."""
    history: list[float] = []
    for sigma, c in zip(schedule.sigmas, schedule.coefficients, strict=False):
        history.insert(0, x * sigma / (spread**2 + sigma**2))
        x += sum(c_k * d for c_k, d in zip(c, history, strict=False))
    return x


def _exact(sigma_start: float, x: float, spread: float) -> float:
    return x * spread / np.sqrt(spread**2 + sigma_start**2)


def test_error_against_the_analytic_solution_falls_with_order_and_steps():
    def error(num_steps: int, order: int) -> float:
        schedule = Schedule.make(num_steps, lms_order=order, karras_sigmas=True, **SD)
        exact = _exact(schedule.sigmas[0], 10.0, 0.8)
        return abs(_solve(schedule, 10.0, 0.8) - exact) / exact

    assert error(50, 4) < error(50, 2) < error(50, 1)
    assert error(50, 4) < 2e-3
    for order, fall in ((1, 1.7), (2, 3.0), (4, 6.0)):
        assert error(50, order) / error(100, order) > fall


@pytest.mark.parametrize(("num_steps", "start"), [(50, 10), (50, 25), (30, 9)])
def test_starting_midway_counts_the_order_from_the_history_that_exists(num_steps: int, start: int):
    whole = Schedule.make(num_steps, **SD)
    ours, theirs = whole.starting_at(start), whole.starting_at(start, as_diffusers=True)
    exact = _exact(ours.sigmas[0], 2.0, 0.8)

    np.testing.assert_array_equal(ours.timesteps, whole.timesteps[start:])
    assert [int(np.count_nonzero(row)) for row in ours.coefficients[:5]] == [1, 2, 3, 4, 4]
    np.testing.assert_allclose(ours.coefficients.sum(axis=1), np.diff(ours.sigmas), rtol=1e-9)
    assert abs(_solve(ours, 2.0, 0.8) - exact) < 0.5 * abs(_solve(theirs, 2.0, 0.8) - exact)


def test_orders_below_four_are_kept_to_the_end():
    schedule = Schedule.make(10, lms_order=2, **SD)

    assert np.count_nonzero(schedule.coefficients, axis=1).tolist() == [1] + [2] * 9
    assert np.count_nonzero(schedule.starting_at(4).coefficients, axis=1).tolist() == [1] + [2] * 5


def test_keys_that_lms_does_not_know_are_left_aside():
    config = {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False, **SD}

    assert Schedule.make(9, **config) is Schedule.make(9, **SD)


def test_karras_sigmas_overrides_the_settings_both_ways():
    plain, karras = Schedule.make(9, **SD), Schedule.make(9, karras_sigmas=True, **SD)

    assert Schedule.make(9, use_karras_sigmas=True, **SD) is karras
    assert Schedule.make(9, use_karras_sigmas=True, karras_sigmas=False, **SD) is plain
    assert not np.array_equal(plain.sigmas[1:-2], karras.sigmas[1:-2])


@pytest.mark.parametrize(
    ("num_steps", "changed", "message"),
    [
        (0, {}, "num_inference_steps is 0: must be 1 to 1000"),
        (1001, {}, "num_inference_steps is 1001"),
        (5, {"lms_order": 5}, "lms_order is 5: must be 1 to 4"),
        (5, {"beta_schedule": "exp"}, "beta_schedule is 'exp': the LMS loop knows linear, scaled_linear"),
        (5, {"prediction_type": "flow_prediction"}, "prediction_type is 'flow_prediction'"),
        (5, {"timestep_spacing": "log"}, "timestep_spacing is 'log'"),
        (5, {"use_beta_sigmas": True}, "use_beta_sigmas is true"),
    ],
)
def test_settings_that_lms_cannot_follow_are_named(num_steps: int, changed: dict[str, Any], message: str):
    with pytest.raises(InvalidSettings, match=message):
        Schedule.make(num_steps, **{**SD, **changed})


def test_start_step_outside_the_schedule_is_refused():
    with pytest.raises(InvalidSettings, match="start step is 9: must be 0 to 8"):
        Schedule.make(9, **SD).starting_at(9)
