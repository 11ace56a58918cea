"""The noise levels and timesteps of a sampler's steps, as a table and as curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sigmafarm_worker.looking.look import Look, draw_curves
from sigmafarm_worker.sampling.lookup import find_table


def look_at_schedule(
    settings: Mapping[str, Any],
    num_inference_steps: int,
    *,
    sampler: str = "lms",
    karras_sigmas: bool = False,
    lms_order: int = 4,
) -> Look:
    """Return sigma and timestep at each call of the network; `settings` are those of a scheduler_config.json.

    Most samplers make one call a step. Raises InvalidSettings."""
    table = find_table(sampler, num_inference_steps, settings, karras_sigmas=karras_sigmas, lms_order=lms_order)
    sigmas = [float(each) for each in table.sigmas]
    timesteps = [float(each) for each in table.rows[:, 0]]
    figures = {
        "sampler": sampler,
        "num_inference_steps": num_inference_steps,
        "karras_sigmas": karras_sigmas,
        "init_noise_sigma": float(table.init_noise_sigma),
        "sigmas": [*sigmas, 0.0],
        "timesteps": timesteps,
    }
    title = f"{sampler}, {num_inference_steps} steps{', Karras' if karras_sigmas else ''}: {table.num_calls} calls"
    return Look(draw_curves(title, [("sigma", [*sigmas, 0.0]), ("timestep", timesteps)]), figures)
