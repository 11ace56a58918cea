"""The samplers that jobs may name, without torch: what they are called, and how many calls of the network they make.

A sampler of diffusers is one row of SAMPLERS: its scheduler's class, and the options that make it this sampler. The
worker makes its table from that class (worker/sigmafarm_worker/sampling/probe.py). One without a class is a file of its
name in the worker's sampling/, which makes the table itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

#: What AUTOMATIC1111 appends to a sampler's name for noise levels after Karras et al.
KARRAS_SUFFIX = " Karras"
#: What says so behind a name, or behind one of the short ones.
_KARRAS = re.compile(r"( karras|_ka)$", re.IGNORECASE)


def _one_a_step(num_steps: int) -> int:
    return num_steps


def _two_a_step(num_steps: int) -> int:
    """Two calls a step but for the last, which ends without noise."""
    return 2 * num_steps - 1


def _first_twice(num_steps: int) -> int:
    """One call a step, and one more to begin with, where there is a second step."""
    return num_steps + (num_steps > 1)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampler, by all its names."""

    #: The farm's name.
    name: str
    #: AUTOMATIC1111's name, or one in its manner where it has none; and its short names there.
    label: str
    aliases: tuple[str, ...] = ()
    #: diffusers' class; empty for one that the worker knows itself.
    scheduler: str = ""
    #: What makes the class this sampler; it goes before what a checkpoint's scheduler_config.json says.
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    #: Whether its noise levels can be spaced after Karras et al.
    knows_karras: bool = True
    #: Calls of the network for a number of steps: what progress, cost and fair sharing count.
    num_calls: Callable[[int], int] = _one_a_step
    #: Calls that diffusers counts a step, where its pipelines start midway.
    order: int = 1
    #: Whether it can begin in pure noise, as a model wants whose scheduler says `rescale_betas_zero_snr`.
    knows_zero_snr: bool = False
    #: The most steps that it can make.
    max_steps: int = 1000

    def num_calls_from(self, start_step: int, num_steps: int, *, as_diffusers: bool = False) -> int:
        """Return the calls of a schedule of `num_steps` steps from one of them on; `as_diffusers` as its pipelines
        count them, which for PLMS is one more where a single step is left."""
        if as_diffusers:
            return self.num_calls(num_steps) - self.order * start_step
        return self.num_calls(num_steps - start_step)


_MULTISTEP = "DPMSolverMultistepScheduler"

SAMPLERS: tuple[Sampler, ...] = (
    Sampler(name="lms", label="LMS", aliases=("k_lms",), knows_zero_snr=True),
    Sampler(name="euler", label="Euler", aliases=("k_euler",), scheduler="EulerDiscreteScheduler", knows_zero_snr=True),
    Sampler(
        name="euler_a",
        label="Euler a",
        aliases=("k_euler_a", "k_euler_ancestral"),
        scheduler="EulerAncestralDiscreteScheduler",
        knows_karras=False,
        knows_zero_snr=True,
    ),
    Sampler(
        name="heun",
        label="Heun",
        aliases=("k_heun",),
        scheduler="HeunDiscreteScheduler",
        num_calls=_two_a_step,
        order=2,
    ),
    Sampler(
        name="dpm2",
        label="DPM2",
        aliases=("k_dpm_2",),
        scheduler="KDPM2DiscreteScheduler",
        num_calls=_two_a_step,
        order=2,
    ),
    Sampler(
        name="dpm2_a",
        label="DPM2 a",
        aliases=("k_dpm_2_a", "k_dpm_2_ancestral"),
        scheduler="KDPM2AncestralDiscreteScheduler",
        num_calls=_two_a_step,
        order=2,
    ),
    Sampler(name="ddim", label="DDIM", scheduler="DDIMScheduler", knows_karras=False, knows_zero_snr=True),
    Sampler(name="ddpm", label="DDPM", scheduler="DDPMScheduler", knows_karras=False, knows_zero_snr=True),
    Sampler(
        name="pndm",
        label="PLMS",
        scheduler="PNDMScheduler",
        options={"skip_prk_steps": True},
        knows_karras=False,
        num_calls=_first_twice,
    ),
    Sampler(
        name="dpmpp_2m",
        label="DPM++ 2M",
        aliases=("k_dpmpp_2m",),
        scheduler=_MULTISTEP,
        options={"algorithm_type": "dpmsolver++", "solver_order": 2},
        knows_zero_snr=True,
    ),
    Sampler(
        name="dpmpp_3m",
        label="DPM++ 3M",
        aliases=("k_dpmpp_3m",),
        scheduler=_MULTISTEP,
        options={"algorithm_type": "dpmsolver++", "solver_order": 3},
        knows_zero_snr=True,
    ),
    Sampler(
        name="dpmpp_2m_sde",
        label="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde",),
        scheduler=_MULTISTEP,
        options={"algorithm_type": "sde-dpmsolver++", "solver_order": 2},
        knows_zero_snr=True,
    ),
    Sampler(
        name="dpmpp_2s",
        label="DPM++ 2S",
        aliases=("k_dpmpp_2s",),
        scheduler="DPMSolverSinglestepScheduler",
        options={"algorithm_type": "dpmsolver++", "solver_order": 2, "lower_order_final": True},
    ),
    Sampler(name="unipc", label="UniPC", scheduler="UniPCMultistepScheduler", knows_zero_snr=True),
    Sampler(name="deis", label="DEIS", scheduler="DEISMultistepScheduler", options={"algorithm_type": "deis"}),
    Sampler(
        name="lcm",
        label="LCM",
        aliases=("k_lcm",),
        scheduler="LCMScheduler",
        knows_karras=False,
        max_steps=50,
        knows_zero_snr=True,
    ),
    Sampler(
        name="sa",
        label="SA Solver",
        scheduler="SASolverScheduler",
        options={"algorithm_type": "data_prediction"},
    ),
)

#: Every sampler by its name.
BY_NAME: Mapping[str, Sampler] = MappingProxyType({sampler.name: sampler for sampler in SAMPLERS})
if TYPE_CHECKING:

    class SamplerName(StrEnum):
        """The names of SAMPLERS."""
else:
    SamplerName = StrEnum("SamplerName", {sampler.name.upper(): sampler.name for sampler in SAMPLERS})
#: The farm's own, and the class that a checkpoint made for it names.
LMS = "lms"
LMS_SCHEDULER = "LMSDiscreteScheduler"


#: Classes of diffusers whose noise levels LMS can follow (KarrasDiffusionSchedulers there), none of which is a sampler
#: here but by BY_NAME.
FOLLOWED = (
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    LMS_SCHEDULER,
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "DPMSolverSDEScheduler",
    "EDMEulerScheduler",
)


def zero_snr_problem(sampler: Sampler) -> str:
    """Return why a sampler cannot draw with a model whose noise ends in nothing but noise, and the cure; empty if it
    can."""
    if sampler.knows_zero_snr:
        return ""
    able = ", ".join(each.name for each in SAMPLERS if each.knows_zero_snr)
    return (
        f"sampler {sampler.name} cannot begin in pure noise, which this model was trained on (rescale_betas_zero_snr "
        f"in its scheduler's settings): take one of {able}"
    )


def find_sampler(name: str) -> Sampler | None:
    """Return the sampler that a name means: the farm's, AUTOMATIC1111's label or alias, or diffusers' class, whose
    first sampler here it is. In upper or lower case; None for a name that nobody knows."""
    return _BY_ANY_NAME.get(name.strip().lower())


def sampler_named(name: str) -> dict[str, Any]:
    """Return the settings that a name says, one with Karras behind it too; none for one that nobody knows here."""
    if sampler := find_sampler(name):
        return {"sampler": sampler.name}
    bare = _KARRAS.sub("", name.strip())
    sampler = find_sampler(bare)
    return {"sampler": sampler.name, "karras_sigmas": True} if sampler and bare != name.strip() else {}


def sampler_of_scheduler(config: Mapping[str, Any]) -> Sampler | None:
    """Return the first sampler of the class and the options of a scheduler_config.json; None if there is none."""
    kind = config.get("_class_name", "")
    if kind == LMS_SCHEDULER:
        return BY_NAME[LMS]
    for sampler in SAMPLERS:
        fits = all(config.get(key, value) == value for key, value in sampler.options.items())
        if sampler.scheduler == kind and fits:
            return sampler
    return None


def _by_any_name() -> Mapping[str, Sampler]:
    found: dict[str, Sampler] = {LMS_SCHEDULER.lower(): BY_NAME[LMS]}
    for sampler in SAMPLERS:
        for name in (sampler.name, sampler.label, *sampler.aliases, sampler.scheduler):
            if name:
                found.setdefault(name.lower(), sampler)
    return MappingProxyType(found)


_BY_ANY_NAME = _by_any_name()
