"""Where in a schedule a job starts that is given a picture, and what is put outside its mask on the way.

diffusers' pipelines cut a scheduler's timesteps at the start step and let it begin there with an empty history; what
they put outside a mask after each step is their `add_noise` at the next timestep. Both are taken from the scheduler
itself, faults included where they are asked for:

- LMS takes the order of its first steps from their place in the schedule, not from the history (lms.py);
- PLMS repeats its second step to make up for its first. The pipelines cut its timesteps behind the repetition, so that
  it evaluates the first step twice and then leaves one out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sigmafarm_common.samplers import Sampler
from sigmafarm_worker.sampling.table import Level

#: A picture without noise: what is outside a mask after the last call.
PICTURE = Level(1.0, 0.0)
#: PLMS, which the pipelines cut wrongly.
_PLMS = "PNDMScheduler"


class Midway(NamedTuple):
    """Where a table starts."""

    #: From 0; None without a picture, which diffusers' schedulers tell from a picture at step 0.
    start_step: int | None = None
    #: With the faults of diffusers' pipelines.
    as_diffusers: bool = False


#: Without a picture: the whole schedule.
FROM_NOISE = Midway()


def begin(scheduler: Any, sampler: Sampler, midway: Midway) -> Sequence[Tensor]:
    """Let a scheduler that has its timesteps begin where it shall, and return those that it is to be given."""
    if midway.start_step is None:
        return list(scheduler.timesteps)
    if sampler.scheduler == _PLMS and not midway.as_diffusers:
        return _first_twice(list(torch.unique_consecutive(scheduler.timesteps))[midway.start_step :])
    first = midway.start_step * sampler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return list(scheduler.timesteps[first:])


def level_of_noise(scheduler: Any, t: Tensor) -> Level:
    """Return how much picture and noise a scheduler mixes for a timestep, or for the step at which it stands."""
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    at = t.reshape(1)
    return Level(float(scheduler.add_noise(one, none, at)), float(scheduler.add_noise(none, one, at)))


def outside(levels: Sequence[Level]) -> Sequence[Level]:
    """Return what is put outside a mask after each call, from the levels at the calls: that of the next."""
    return [*levels[1:], PICTURE]


def _first_twice(timesteps: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return timesteps as PLMS takes them: it makes its first step twice, if there is a second."""
    return [*timesteps[:2], *timesteps[1:]]
