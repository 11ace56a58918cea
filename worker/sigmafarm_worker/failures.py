"""What went wrong in a pass, in the farm's own errors."""

from __future__ import annotations

import math

import structlog
import torch

from sigmafarm_common.errors import OutOfDeviceMemory, RenderError, SigmafarmError, TrajectoryDiverged
from sigmafarm_common.job import RenderRequest

_log = structlog.get_logger("sigmafarm.engine")


def diverged(request: RenderRequest, rms: float, limit: float) -> TrajectoryDiverged:
    advice = ["more steps", "a lower guidance_scale"]
    if not request.karras_sigmas:
        advice.insert(0, "karras_sigmas = true")
    if (request.lms_order or 0) > 2:
        advice.insert(0, "lms_order = 2")
    how = "not finite" if not math.isfinite(rms) else f"{rms:.3g} (root mean square), more than {limit:g}"
    settings = f"{request.num_inference_steps} steps, order {request.lms_order}, guidance {request.guidance_scale:g}"
    cure = f"the picture would be blotches; try {', or '.join(advice)}"
    return TrajectoryDiverged(f"the latents after {settings} are {how}: {cure}")


def render_error(error: Exception) -> Exception:
    """Return the farm's error for what a pass raised. Raises it on if the device itself is broken: none can follow."""
    if isinstance(error, torch.AcceleratorError):
        raise error
    if isinstance(error, SigmafarmError):
        return error
    if is_out_of_memory(error):
        cure = "lower max_images, or draw smaller pictures"
        return OutOfDeviceMemory(f"the device has no memory left for this pass ({first_line(error)}): {cure}")
    _log.error("engine.pass_failed", error=repr(error), exc_info=error)
    return RenderError(f"the pass failed: {type(error).__name__}: {first_line(error)}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on a GPU or on the host."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
