"""A model whose training ended in pure noise: its noise levels reach every sampler that can follow them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import pytest

from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.samplers import BY_NAME, SAMPLERS
from sigmafarm_worker.sampling.lms import Schedule
from sigmafarm_worker.sampling.lookup import find_table
from tests.worker.sampling.test_probe import SD, network, walk_ours, walk_theirs

#: What checkpoints of 2.x with zero terminal SNR say.
ZERO_SNR: Mapping[str, Any] = {
    **SD,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
#: What float32 rounds the largest of the first latents by, four standard deviations of 4096: one step alone, in ours
#: and in diffusers, leaves that in the picture, and further steps take it away.
ROUNDING = float(np.spacing(np.float32(4 * 4096)))
ABLE = [sampler for sampler in SAMPLERS if sampler.knows_zero_snr]


@pytest.mark.parametrize("spacing", ["trailing", "linspace", "leading"])
@pytest.mark.parametrize("karras", [False, True])
def test_the_noise_levels_of_lms_are_those_of_diffusers_euler(spacing: str, karras: bool):
    settings = {**ZERO_SNR, "timestep_spacing": spacing}
    known = inspect.signature(diffusers.EulerDiscreteScheduler.__init__).parameters
    theirs = diffusers.EulerDiscreteScheduler(
        **{key: value for key, value in settings.items() if key in known}, use_karras_sigmas=karras
    )
    theirs.set_timesteps(20)

    ours = Schedule.make(20, karras_sigmas=karras, **settings)

    assert np.array_equal(ours.sigmas, theirs.sigmas.numpy())
    assert np.array_equal(ours.timesteps, theirs.timesteps.numpy())
    assert ours.init_noise_sigma == pytest.approx(float(theirs.init_noise_sigma), rel=1e-6)


@pytest.mark.parametrize("sampler", ABLE, ids=lambda sampler: sampler.name)
@pytest.mark.parametrize("num_steps", [1, 4, 20])
def test_every_sampler_that_can_begin_in_pure_noise_ends_where_diffusers_does(sampler: Any, num_steps: int, error: Any):
    answer = network("v_prediction")
    # diffusers' LMS does not know such noise; of order 1 it is Euler, which does.
    theirs = walk_theirs(sampler if sampler.scheduler else BY_NAME["euler"], num_steps, ZERO_SNR, False, answer)

    ours = walk_ours(find_table(sampler.name, num_steps, ZERO_SNR, lms_order=1), answer)

    if num_steps == 1:
        assert np.abs(ours.numpy() - theirs.numpy()).max() <= ROUNDING
    else:
        assert error(ours.numpy(), theirs.numpy()) < 1e-4


def test_lms_of_every_order_comes_to_the_same_picture_with_many_steps(error: Any):
    answer = network("v_prediction")
    fine = walk_ours(find_table("lms", 200, ZERO_SNR, lms_order=1), answer)

    drawn = {order: walk_ours(find_table("lms", 60, ZERO_SNR, lms_order=order), answer) for order in (1, 2, 4)}

    assert all(error(x.numpy(), fine.numpy()) < 0.1 for x in drawn.values())


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_who_can_begin_in_pure_noise_is_as_diffusers_has_it_and_the_others_are_refused_with_a_cure(sampler: Any):
    if sampler.scheduler:
        kind = getattr(diffusers, sampler.scheduler)
        assert sampler.knows_zero_snr == ("rescale_betas_zero_snr" in inspect.signature(kind.__init__).parameters)
    if not sampler.knows_zero_snr:
        with pytest.raises(
            InvalidSettings, match=rf"sampler {sampler.name} cannot begin in pure noise.*take one of lms"
        ):
            find_table(sampler.name, 10, ZERO_SNR)
