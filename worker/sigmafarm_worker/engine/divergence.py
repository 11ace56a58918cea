"""What becomes of a picture whose latents left the range of its model's pictures: its job's `on_divergence` decides."""

from __future__ import annotations

from sigmafarm_common.errors import TrajectoryDiverged
from sigmafarm_common.job_warnings import WarningCode
from sigmafarm_common.samplers import LMS
from sigmafarm_common.settings import OnDivergence, RenderRequest
from sigmafarm_worker.engine.failures import milder, settings_of
from sigmafarm_worker.engine.intake import with_order
from sigmafarm_worker.engine.slot import Slot
from sigmafarm_worker.models import Model

#: The highest order that a picture is drawn with again: the first two are not stiff (worker/README.md, Decisions).
SAFE_ORDER = 2


def answer_excess(model: Model, slot: Slot, excess: str) -> Slot | TrajectoryDiverged | None:
    """Return the slot in which a picture is to be drawn again, or the error that ends it; None where it is kept as it
    is, with a warning that is added to its slot.

    `excess` says how its latents are out of range.
    """
    what = f"the latents after {settings_of(slot.request)} are {excess}"
    wanted = slot.request.on_divergence
    if wanted is OnDivergence.FAIL:
        return TrajectoryDiverged(
            f'{what}: the picture would be blotches; try {milder(slot.request)}, or on_divergence = "keep"'
        )
    if wanted is OnDivergence.LOWER_ORDER and (order := _next_order(slot.request)):
        text = f"{what}: it was drawn again with lms_order = {order}; say so at once to spare the first drawing"
        again = with_order(model, slot, order)
        again.warn(WarningCode.LOWER_ORDER, text)
        return again
    slot.warn(
        WarningCode.DIVERGED,
        f"{what}: the picture may be blotches; try {milder(slot.request)}{_again(slot.request)}",
    )
    return None


def _next_order(request: RenderRequest) -> int:
    """Return the order to draw with next, 0 where there is none."""
    order = request.lms_order or 0
    return 0 if request.sampler != LMS else SAFE_ORDER if order > SAFE_ORDER else order - 1


def _again(request: RenderRequest) -> str:
    can_help = request.sampler == LMS and (request.lms_order or 0) > SAFE_ORDER
    return ', or on_divergence = "lower_order"' if can_help else ""
