"""What helps where drawing the same again cannot: for each error that is no accident, the change that may mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sigmafarm_common import errors
from sigmafarm_common.records import Job
from sigmafarm_common.samplers import LMS

#: The highest order that is not stiff, and the guidance and steps that seldom leave the range.
SAFE_ORDER, MILD_GUIDANCE, ENOUGH_STEPS = 2, 7.5, 25


@dataclass(frozen=True)
class Cure:
    """What to do about a failure, in the words of a button, and the settings that the page fills in for it."""

    words: str
    changes: Mapping[str, str] = field(default_factory=dict[str, str])


#: Where the words are the same for every job.
_PLAIN: Mapping[str, Cure] = MappingProxyType(
    {
        errors.PictureTooLarge.code: Cure("Again, smaller", {"scale": "0.5"}),
        errors.PictureGone.code: Cure("Again from another picture"),
        errors.UnknownModel.code: Cure("Again with another model"),
        errors.ModelNotLoadable.code: Cure("Again with another model"),
        errors.InvalidRequest.code: Cure("Again with other settings"),
    }
)


def cure_of(job: Job) -> Cure | None:
    """Return what may help a failed job, None where trying the same again may do."""
    if job.error_code in (errors.TrajectoryDiverged.code, errors.PictureNotFinite.code):
        return _milder(job)
    return _PLAIN.get(job.error_code)


def _milder(job: Job) -> Cure:
    request, has_diverged = job.request, job.error_code == errors.TrajectoryDiverged.code
    if has_diverged and request.sampler == LMS and (request.lms_order or 0) > SAFE_ORDER:
        return Cure(f"Again with lms_order {SAFE_ORDER}", {"lms_order": str(SAFE_ORDER)})
    if (request.guidance_scale or 0) > MILD_GUIDANCE:
        return Cure(f"Again with guidance {MILD_GUIDANCE}", {"guidance_scale": str(MILD_GUIDANCE)})
    if (request.num_inference_steps or 0) < ENOUGH_STEPS:
        return Cure(f"Again with {ENOUGH_STEPS} steps", {"num_inference_steps": str(ENOUGH_STEPS)})
    return Cure("Again with milder settings" if has_diverged else "Again with another model")
