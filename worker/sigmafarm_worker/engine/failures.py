"""What went wrong while drawing, in the farm's own errors"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sigmafarm_common.errors import PictureNotFinite, RenderError, SigmafarmError
from sigmafarm_common.samplers import BY_NAME, LMS
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.telling import first_line, tell

#: What libraries say when an allocation failed, beside torch.OutOfMemoryError and MemoryError. In lower case.
MEMORY_WORDS = (
    "out of memory",  # "CUDA error: out of memory" of an AcceleratorError; the drivers of MPS, HIP and XPU
    "can't allocate memory",  # torch's CPU allocator, on Linux
    "not enough memory",  # the same, elsewhere
    "cannot allocate memory",  # the system's own words
    "bad_alloc",  # C++
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED, CUFFT_ALLOC_FAILED
    "unable to find an engine",  # cuDNN without memory for any algorithm's workspace
    "unable to find a valid cudnn algorithm",
)
#: What libraries say when a device has gone wrong, in exceptions that are no torch.AcceleratorError. In lower case.
BROKEN_WORDS = (
    "cuda error:",  # torch before 2.8, and libraries that check a launch by themselves
    "hip error:",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cublas_status_mapping_error",
    "cublas_status_not_initialized",
    "cudnn_status_execution_failed",  # of cuDNN 9, also what is longer: ..._CUDART, ..._CUBLAS
    "cudnn_status_internal_error",
    "cudnn_status_mapping_error",
    "cudnn_status_not_initialized",
    "cusolver_status_internal_error",
    "cufft_exec_failed",
)
#: What CUDA says of a capture that cannot be: the device is as good as before.
CAPTURE_WORDS = "captur"
#: Errors behind an error that are looked at: a capture that is broken off hides what broke it.
MAX_CAUSES = 8


class NoRoomForOneRow(RuntimeError):
    """The device had no memory for a pass over a single row, of a size that no pass was made for before."""


def latents_not_finite(request: RenderRequest) -> PictureNotFinite:
    """Return the error of latents with NaN or infinities among them."""
    cure = "check the model's weights and its precision; if other pictures of this model are fine, try "
    return PictureNotFinite(
        f"the latents after {settings_of(request)} are not finite: the UNet of model {request.model!r} answered NaN or "
        f"infinities; {cure}{milder(request)}"
    )


def picture_not_finite(request: RenderRequest, dtypes: str, *, out_of_range: str = "") -> PictureNotFinite:
    """Return the error of a picture with NaN or infinities among its values, in the precisions that were tried; the
    VAE is not to blame where its latents were out of range, and `out_of_range` says how."""
    if out_of_range:
        return PictureNotFinite(f"the decoded picture is not finite (in {dtypes}): {out_of_range}")
    return PictureNotFinite(
        f"the decoded picture is not finite (in {dtypes}), though its latents are: the VAE of model {request.model!r} "
        "answered NaN or infinities; fetch its weights again, or name another VAE in the models file"
    )


def encoding_not_finite(request: RenderRequest, dtypes: str) -> PictureNotFinite:
    """Return the error of a given picture whose latents hold NaN or infinities, in the precisions that were tried."""
    return PictureNotFinite(
        f"the latents of the given picture are not finite (in {dtypes}): the VAE of model {request.model!r} answered "
        "NaN or infinities; fetch its weights again, or name another VAE in the models file"
    )


def render_error(error: BaseException, what: str = "the pass") -> SigmafarmError:
    """Return the farm's error for what a piece of the work raised, unless that is memory that ran out (sizes.py knows
    those). Raises it on if the device itself is broken: none can follow."""
    if is_broken(error):
        raise error
    if isinstance(error, SigmafarmError):
        return error
    tell("error", "engine.failed_at", what=what, error=repr(error), exc_info=error)
    return RenderError(f"{what} failed: {type(error).__name__}: {first_line(error)}")


def is_broken(error: BaseException) -> bool:
    """Whether only a new process can use the device again: its context is lost, by whichever of its names. Neither a
    job nor a model is to blame for that before it has happened to them again and again."""
    if is_out_of_memory(error):
        return False
    return any(
        isinstance(seen, torch.AcceleratorError)
        or (isinstance(seen, RuntimeError) and any(words in str(seen).lower() for words in BROKEN_WORDS))
        for seen in _causes(error)
    )


def is_of_a_capture(error: BaseException) -> bool:
    """Whether a CUDA graph could not be captured, and nothing else is wrong."""
    return any(CAPTURE_WORDS in str(seen).lower() for seen in _causes(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the host, by whichever of its many faces."""
    return any(
        isinstance(seen, (torch.OutOfMemoryError, MemoryError))
        or (isinstance(seen, (RuntimeError, OSError)) and any(words in str(seen).lower() for words in MEMORY_WORDS))
        for seen in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it, up to the first of the farm's own: what was judged is not judged anew."""
    seen: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if seen is None or isinstance(seen, SigmafarmError):
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def free_cached(error: BaseException) -> None:
    """Give back what torch keeps for later, unless its own allocator ran out: that one has done so."""
    if torch.cuda.is_initialized() and not isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()


def settings_of(request: RenderRequest) -> str:
    """Return the settings that a trajectory hangs on, in words."""
    order = f" of order {request.lms_order}" if request.sampler == LMS else ""
    return f"{request.num_inference_steps} steps of {request.sampler}{order}, guidance {request.guidance_scale:g}"


def milder(request: RenderRequest) -> str:
    """Return what would make a trajectory milder, the best first."""
    advice = ["more steps", "a lower guidance_scale"]
    if not request.karras_sigmas and request.sampler and BY_NAME[request.sampler].knows_karras:
        advice.insert(0, "karras_sigmas = true")
    if request.sampler == LMS and (request.lms_order or 0) > 2:
        advice.insert(0, "lms_order = 2")
    return ", or ".join(advice)
