"""The table of a job, found by its settings, or made once: by trying out diffusers' scheduler, or by a file of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.samplers import BY_NAME, zero_snr_problem
from sigmafarm_worker.sampling.midway import FROM_NOISE, Midway
from sigmafarm_worker.sampling.probe import probe
from sigmafarm_worker.sampling.table import Table

#: Tables kept by all that they depend on; one of 50 steps takes 4 KB.
NUM_CACHED = 256


def find_table(
    name: str,
    num_steps: int,
    settings: Mapping[str, Any],
    midway: Midway = FROM_NOISE,
    *,
    karras_sigmas: bool = False,
    lms_order: int = 4,
) -> Table:
    """Return the table of a sampler for a number of steps; `settings` are those of a scheduler_config.json. `midway`
    says where in them it starts, for a given picture.

    One of 50 steps is made in 10 to 150 ms the first time: call it where nobody waits. Raises InvalidSettings.
    """
    sampler = BY_NAME[name]
    if num_steps > sampler.max_steps:
        raise InvalidSettings(f"num_inference_steps is {num_steps}: sampler {name} makes at most {sampler.max_steps}")
    if settings.get("rescale_betas_zero_snr") and (problem := zero_snr_problem(sampler)):
        raise InvalidSettings(problem)
    order = 0 if sampler.scheduler else lms_order
    said = json.dumps(dict(settings), sort_keys=True, default=list)
    return _made(name, num_steps, said, midway, karras_sigmas and sampler.knows_karras, order)


@lru_cache(maxsize=NUM_CACHED)
def _made(name: str, num_steps: int, said: str, midway: Midway, karras_sigmas: bool, lms_order: int) -> Table:
    sampler, settings = BY_NAME[name], json.loads(said)
    if sampler.scheduler:
        return probe(sampler, num_steps, settings, midway, karras_sigmas=karras_sigmas)
    own: Any = import_module(f"sigmafarm_worker.sampling.{name}")
    return own.make_table(num_steps, settings, midway, karras_sigmas=karras_sigmas, lms_order=lms_order)
