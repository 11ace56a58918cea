"""The engine that draws: the front that the farm, a program or a test speaks to.

    step():  admit waiting requests into free slots of a lane  ->  one UNet pass over all rows of the lane
             ->  guidance and samplers, vectorised  ->  retire finished slots (VAE decode, hand the pixels over)

Threads: `submit`, `drop`, `latents_of` and `glimpses` may be called from any thread; everything else happens in the one
that steps: the thread of `start()` (engine_thread.py), or a test's own. What others want done is posted, and done
between two steps (stepping.py). An error of one job ends that job's future and no other; the loop survives everything
but a broken device.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.errors import (
    EngineStopped,
    ModelNotLoadable,
    OutOfDeviceMemory,
    PictureNotFinite,
    RenderError,
    SigmafarmError,
    UnknownModel,
)
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import USUAL_IMAGES, EngineStats, Glimpse, OnStep, Rendered
from sigmafarm_worker.engine.failures import is_broken, is_out_of_memory, render_error
from sigmafarm_worker.engine.intake import make_slot
from sigmafarm_worker.engine.memory import CudaMemory, Memory, measure
from sigmafarm_worker.engine.resident_memory import process_memory_bytes
from sigmafarm_worker.engine.slot import LaneKey
from sigmafarm_worker.engine.stepping import Stepper
from sigmafarm_worker.engine.thread import EngineThread
from sigmafarm_worker.engine.warming import warm_batches
from sigmafarm_worker.models import Model
from sigmafarm_worker.telling import first_line, tell


class Engine:
    """Draws requests with the models that it was given, many at once, on one device.

    `max_images` is the number of slots of a lane of a model's native size; larger pictures get fewer, so that a pass
    never holds more pixels than `max_images` native pictures. Unless it is said, the warm-up chooses it by the memory
    that a GPU has left for each picture, 16 at most. With `is_compiled` the warm-up compiles the UNets (compiling.py).

    A program that ends stops its engines. An engine that nobody refers to any more draws what it was given, and its
    thread ends.
    """

    def __init__(
        self,
        models: Model | Mapping[str, Model],
        max_images: int | None = USUAL_IMAGES,
        *,
        broken: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        memory: Memory | None = None,
        is_compiled: bool = False,
    ):
        self.models: dict[str, Model] = {models.name: models} if isinstance(models, Model) else dict(models)
        #: Models that were to be here and cannot draw, and why; those that a warm-up shows among them.
        self.broken: dict[str, str] = dict(broken or {})
        self._is_to_choose = max_images is None
        num = max_images or USUAL_IMAGES
        self._stepper = Stepper(self.models, num, clock or SystemClock(), is_compiled=is_compiled)
        self._memory = memory or (CudaMemory(self._stepper.device) if self._stepper.device.type == "cuda" else None)
        #: The most pixels of a picture that the device has memory for, by model; as far as that is known.
        self.max_pixels: dict[str, int] = {}
        self._thread = EngineThread(self._stepper)
        # At the interpreter's end the thread stops at once, without this.
        weakref.finalize(self, self._thread.forsake).atexit = False

    # From any thread

    def submit(
        self,
        request: RenderRequest,
        on_step: OnStep | None = None,
        *,
        init_image: NDArray[np.uint8] | None = None,
        mask_image: NDArray[np.uint8] | None = None,
    ) -> Future[Rendered]:
        """Ask for a picture; settings that the request leaves out are the model's defaults, then the farm's.

        `init_image`, uint8 [H, W, 3] of the request's size, is a picture to start from; `mask_image`, uint8 [H, W], is
        255 where it is drawn anew. Where that is 0, the picture comes back as it was, to the bit.

        `on_step(calls_done, num_calls)` is called after each of its calls of the network (most samplers make one a
        step), in the engine's thread: it must be cheap and must not block, and so must the future's callbacks. The
        future raises what went wrong: InvalidInput, ModelNotLoadable, OutOfDeviceMemory, PictureTooLarge,
        TrajectoryDiverged, PictureNotFinite, Dropped, EngineStopped, RenderError. `Future.cancel` works until the job
        joins a pass, `drop` also after.
        """
        future: Future[Rendered] = Future()
        try:
            slot = make_slot(self._model_of(request), request, future, on_step, init_image, mask_image)
        except Exception as error:  # the per-job guard: whatever is wrong with this request is its own affair
            future.set_exception(_intake_error(error))
            return future
        stepper = self._stepper
        if not self._thread.post(lambda: stepper.add(slot)):
            future.set_exception(EngineStopped("the engine has stopped: submit the job again"))
        return future

    def drop(self, future: Future[Rendered], reason: str) -> None:
        """Make the future raise Dropped(reason) between two steps and free its slot. Does nothing once it is done."""
        stepper = self._stepper
        self._thread.post(lambda: stepper.drop(future, reason))

    def latents_of(self, future: Future[Rendered], timeout_s: float = 60.0) -> Tensor | None:
        """Return a float32 CPU copy [4, H/8, W/8] of a job's latents as they stand between two steps.

        None for a job that waits, or is done, or when no answer comes in time. Costs one device-to-host sync. Raises
        what kept it from looking, which harms no job.
        """
        stepper = self._stepper
        return self._thread.ask(lambda: stepper.latents_of(future), timeout_s)

    def glimpses(self, timeout_s: float = 60.0) -> list[Glimpse]:
        """Return what every picture in a lane is becoming: one small linear map away, without the VAE.

        None of a job that waits or is done; an empty list when no answer comes in time. Costs one device-to-host sync
        a lane. Raises what kept it from looking, which harms no job.
        """
        seen = self._thread.ask(self._stepper.foreseen, timeout_s) or []
        return [
            Glimpse(slot.future, step, self.models[slot.key.model].preview.pixels(x_CHW.numpy()))
            for slots_and_steps, x_SCHW in seen
            for (slot, step), x_CHW in zip(slots_and_steps, x_SCHW, strict=True)
        ]

    @property
    def max_images(self) -> int:
        """Slots of a lane of a model's native size."""
        return self._stepper.max_images

    @property
    def memory_bytes(self) -> int:
        """Memory taken: what the allocator holds of a GPU, else what the process has in RAM."""
        if self._stepper.device.type == "cuda":
            return int(torch.cuda.memory_reserved(self._stepper.device))
        return process_memory_bytes()

    @property
    def last_beat_s(self) -> float:
        """Monotonic seconds of the last sign of life of the loop: before and after each step, and every
        IDLE_BEAT_S while idle. A step can take long on a slow device: compare with `stats.step_s`."""
        return self._stepper.last_beat_s

    @property
    def is_running(self) -> bool:
        """Whether the thread of `start()` is alive."""
        return self._thread.is_running

    @property
    def stats(self) -> EngineStats:
        """Return the counters; read without a lock, so that two of them may be a step apart."""
        return self._stepper.stats()

    def capacity(self, key: LaneKey) -> int:
        """Return the slots of a lane: `max_images` at native size or below, fewer in proportion to the pixels above."""
        return self._stepper.capacity(key)

    # Running

    def start(self) -> None:
        """Run the loop in a thread of its own. Does nothing while it runs."""
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """End the loop after the step under way; every job that is not finished raises EngineStopped."""
        self._thread.stop(timeout_s)

    def step(self) -> bool:
        """Move every slot of one lane one step. Return whether there was anything to do."""
        self._thread.take_posted()
        return self._stepper.step()

    def warm_up(self) -> float:
        """Do what must be done before the worker says ready, and return the seconds of a step of one guided picture.

        Builds all graphs of each model's native size and draws one short picture with each, in the loop's own thread
        where that runs: libraries keep handles and workspaces by thread. Nobody submits before it is done.
        A model that cannot draw does not serve: it is told in `broken`, and what it raises is raised where no other is
        left. That this one picture diverges or is not finite says nothing about the others: the log tells of it, and
        each job is judged by itself.
        """
        return self._thread.do(self._warm_up)

    def _warm_up(self) -> float:
        self._stepper.use_device()
        self._measure_memory()
        for name in list(self.models):
            try:
                self._warm_up_model(name)
            except Exception as error:  # whatever is wrong with one model is its own affair
                if is_broken(error):
                    raise  # the device, not the model
                if len(self.models) == 1:
                    raise _warm_up_error(name, error) from error
                del self.models[name]
                self.broken[name] = str(_warm_up_error(name, error))
                tell("error", "model cannot draw", model=name, problem=self.broken[name])
        self._stepper.counts = self._stepper.counts.anew()
        return self._stepper.counts.step_s

    def _measure_memory(self) -> None:
        """Learn what the device has memory for. What goes wrong is judged at the first picture, which it stops too."""
        if self._memory is None:
            return
        fitting = [USUAL_IMAGES]
        for name, model in self.models.items():
            try:
                room = measure(model, self._stepper.unet_passes[name], self._memory)
            except Exception as error:
                if is_broken(error):
                    raise
                tell("warning", "engine.memory_not_measured", model=name, error=first_line(error))
                continue
            self.max_pixels[name] = room.max_pixels
            fitting.append(room.num_images)
        if self._is_to_choose:
            self._stepper.max_images = min(fitting)

    def _warm_up_model(self, name: str) -> None:
        model = self.models[name]
        factor = model.vae_factor
        height, width = model.height // factor, model.width // factor
        self._stepper.unet_passes[name].warm_up(height, width, 2 * self.max_images)
        if self._memory is not None:
            warm_batches(model)
        # Order 1 and little guidance: the mildest trajectory.
        mild = {"num_inference_steps": 4, "guidance_scale": 1.1, "lms_order": 1, "on_divergence": "keep"}
        request = RenderRequest.parse({"prompt": "", "model": name, "seed": 0, **mild})
        future = self.submit(request)
        while self.step():
            pass
        try:
            future.result(0)
        except PictureNotFinite as error:
            tell("error", "engine.model_not_finite", model=name, error=str(error))

    def _model_of(self, request: RenderRequest) -> Model:
        if request.model is None:
            return next(iter(self.models.values()))
        if request.model not in self.models:
            raise UnknownModel(request.model, self.models)
        return self.models[request.model]


def _warm_up_error(name: str, error: Exception) -> Exception:
    """Return the farm's error for a model that does not draw its first picture."""
    if isinstance(error, SigmafarmError) and not isinstance(error, RenderError):
        return error
    if is_out_of_memory(error) or getattr(error, "retryable", False):
        return error
    said = str(error) if isinstance(error, SigmafarmError) else f"{type(error).__name__}: {first_line(error)}"
    return ModelNotLoadable(f"model {name!r} is loaded and cannot draw ({said}): are its parts of one checkpoint?")


def _intake_error(error: Exception) -> Exception:
    """Return the farm's error for what a request raised before it came to a lane."""
    if is_out_of_memory(error):
        return OutOfDeviceMemory(f"there is no memory left for the request ({first_line(error)}): lower max_images")
    return render_error(error, "taking the request in")
