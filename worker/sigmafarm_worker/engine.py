"""The loop that owns the device: each step denoises every slot of a lane once.

    step():  admit waiting requests into free slots of a lane  ->  one UNet pass over all rows of the lane
             ->  guidance and LMS update, vectorised  ->  retire finished slots (VAE decode, hand the pixels over)

Threads: `submit`, `drop`, `latents_of` and `glimpses` may be called from any thread; everything else happens in the one
that steps: the thread of `start()`, or a test's own. What others want done is posted, and done between two steps. An
error of one job ends that job's future and no other; the loop survives everything but a broken device.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

import structlog
import torch
from torch import Tensor

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.errors import (
    Dropped,
    EngineStopped,
    TrajectoryDiverged,
    UnknownModel,
)
from sigmafarm_common.job import RenderRequest
from sigmafarm_worker.batching import Batching
from sigmafarm_worker.engine_stats import Counts, EngineStats
from sigmafarm_worker.failures import first_line, render_error
from sigmafarm_worker.frugal_pass import FrugalPass
from sigmafarm_worker.intake import make_slot
from sigmafarm_worker.lane import Lane
from sigmafarm_worker.memory import process_memory_bytes
from sigmafarm_worker.models import Model
from sigmafarm_worker.retiring import pictures
from sigmafarm_worker.slot import Glimpse, LaneKey, OnStep, Rendered, Slot
from sigmafarm_worker.unet_pass import Pace, UnetPass, make_unet_pass

#: Pictures of native size that the VAE decodes at once: bounds its memory, which is larger than the UNet's.
MAX_DECODED_AT_ONCE = 4
#: Seconds between two signs of life while there is nothing to do.
IDLE_BEAT_S = 0.5

T = TypeVar("T")

_log = structlog.get_logger("sigmafarm.engine")


class Engine:
    """Draws requests with the models that it was given, many at once, on one device.

    `max_images` is the number of slots of a lane of a model's native size; larger pictures get fewer, so that a pass
    never holds more pixels than `max_images` native pictures.
    """

    def __init__(self, models: Model | Mapping[str, Model], max_images: int = 16, *, clock: Clock | None = None):
        self.models: Mapping[str, Model] = {models.name: models} if isinstance(models, Model) else dict(models)
        self.max_images = max_images
        self._clock: Clock = clock or SystemClock()
        self._unet_passes: dict[str, UnetPass] = {n: FrugalPass(make_unet_pass(m)) for n, m in self.models.items()}
        self._device = next(iter(self.models.values())).device
        self._pace = Pace(self._device)
        self._batching: Batching[LaneKey, Slot] = Batching(self.capacity)
        self._lanes: dict[LaneKey, Lane] = {}
        self._counts = Counts()
        #: What other threads want done between two steps; the condition guards it and `_is_stopping`.
        self._posted: deque[Callable[[], object]] = deque()
        self._news = threading.Condition()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._last_beat_s = self._clock.monotonic_s()

    # From any thread

    def submit(self, request: RenderRequest, on_step: OnStep | None = None) -> Future[Rendered]:
        """Ask for a picture; settings that the request leaves out are the model's defaults, then the farm's.

        `on_step(steps_done, num_steps)` is called after each of its steps, in the engine's thread: it must be cheap and
        must not block, and so must the future's callbacks. The future raises what went wrong: InvalidInput,
        ModelNotLoadable, OutOfDeviceMemory, TrajectoryDiverged, Dropped, EngineStopped, RenderError. `Future.cancel`
        works until the job joins a pass, `drop` also after.
        """
        future: Future[Rendered] = Future()
        try:
            slot = make_slot(self._model_of(request), request, future, on_step)
        except Exception as error:  # the per-job guard: whatever is wrong with this request is its own affair
            future.set_exception(error)
            return future
        if not self._post(lambda: self._batching.add(slot.key, slot)):
            future.set_exception(EngineStopped("the engine has stopped: submit the job again"))
        return future

    def drop(self, future: Future[Rendered], reason: str) -> None:
        """Make the future raise Dropped(reason) between two steps and free its slot. Does nothing once it is done."""
        self._post(lambda: self._drop(future, reason))

    def latents_of(self, future: Future[Rendered], timeout_s: float = 60.0) -> Tensor | None:
        """Return a float32 CPU copy [4, H/8, W/8] of a job's latents as they stand between two steps.

        None for a job that waits, or is done, or when no answer comes in time. Costs one device-to-host sync.
        """
        return self._between_steps(lambda: self._latents_of(future), timeout_s)

    def glimpses(self, timeout_s: float = 60.0) -> list[Glimpse]:
        """Return what every picture in a lane is becoming: one small linear map away, without the VAE.

        None of a job that waits or is done; an empty list when no answer comes in time. Costs one device-to-host sync
        a lane.
        """
        seen = self._between_steps(self._foreseen, timeout_s) or []
        return [
            Glimpse(slot.future, step, self.models[slot.key.model].preview.pixels(x_CHW.numpy()))
            for slots_and_steps, x_SCHW in seen
            for (slot, step), x_CHW in zip(slots_and_steps, x_SCHW, strict=True)
        ]

    @property
    def memory_bytes(self) -> int:
        """Memory taken: what the allocator holds of a GPU, else what the process has in RAM."""
        if self._device.type == "cuda":
            return int(torch.cuda.memory_reserved(self._device))
        return process_memory_bytes()

    @property
    def last_beat_s(self) -> float:
        """Monotonic seconds of the last sign of life of the loop: before and after each step, and every
        IDLE_BEAT_S while idle. A step can take long on a slow device: compare with `stats.step_s`."""
        return self._last_beat_s

    @property
    def is_running(self) -> bool:
        """Whether the thread of `start()` is alive."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stats(self) -> EngineStats:
        """Return the counters; read without a lock, so that two of them may be a step apart."""
        return self._counts.stats(
            num_occupied=self._batching.num_inside,
            num_waiting=self._batching.num_waiting,
            num_lanes=len(self._batching.lanes),
            num_builds=sum(p.num_builds for p in self._unet_passes.values()),
        )

    def capacity(self, key: LaneKey) -> int:
        """Return the slots of a lane: `max_images` at native size or below, fewer in proportion to the pixels above."""
        model = self.models[key.model]
        share = model.height * model.width / (key.height * key.width)
        return max(1, int(self.max_images * min(1.0, share)))

    # Running

    def start(self) -> None:
        """Run the loop in a thread of its own. Does nothing while it runs."""
        if self.is_running:
            return
        with self._news:
            self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="sigmafarm-engine", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """End the loop after the step under way; every job that is not finished raises EngineStopped."""
        with self._news:
            self._is_stopping = True
            self._news.notify_all()
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        if not self.is_running:
            self._thread = None
            self._end_all("the engine was stopped")

    def warm_up(self) -> float:
        """Do what must be done before the worker says ready, and return the seconds of a step of one guided picture.

        Builds all graphs of each model's native size and draws one short picture with each. Call before `start()`.
        Raises what drawing raises: a model that cannot draw must not serve.
        """
        assert not self.is_running, "warm_up() comes before start()"
        self._use_device()
        for name, model in self.models.items():
            factor = model.vae_factor
            self._unet_passes[name].warm_up(model.height // factor, model.width // factor, 2 * self.max_images)
            # Order 1 and little guidance: the mildest trajectory. That it may diverge says nothing against the model.
            request = RenderRequest(
                prompt="", model=name, num_inference_steps=4, guidance_scale=1.1, seed=0, lms_order=1
            )
            future = self.submit(request)
            while self.step():
                pass
            with suppress(TrajectoryDiverged):
                future.result(0)
        step_s = self._counts.step_s
        self._counts = Counts()
        self._counts.step_s = step_s
        return step_s

    def _run(self) -> None:
        reason = "the engine was stopped"
        try:
            self._use_device()
            while not self._is_stopping:
                if not self.step():
                    self._wait_for_news()
        except Exception as error:  # the outermost loop: our own mistake, or a device that only a new process may mend
            _log.exception("engine.failed")
            reason = f"the engine failed ({type(error).__name__}: {first_line(error)})"
        with self._news:
            self._is_stopping = True
        self._end_all(reason)

    def _use_device(self) -> None:
        """Make the models' GPU the current one of this thread: streams and graphs are made on that one."""
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)

    def _wait_for_news(self) -> None:
        with self._news:
            if not self._posted and not self._is_stopping:
                self._news.wait(IDLE_BEAT_S)

    def _post(self, action: Callable[[], object]) -> bool:
        """Have something done between two steps. Return False when there will be no more steps."""
        with self._news:
            if self._is_stopping:
                return False
            self._posted.append(action)
            self._news.notify()
            return True

    def _between_steps(self, look: Callable[[], T], timeout_s: float) -> T | None:
        """Return what a look at the lanes between two steps gives, None when no answer comes in time."""
        if self._thread is None or threading.current_thread() is self._thread:
            return look()
        answer: Future[T] = Future()
        if not self._post(lambda: answer.set_result(look())):
            return None
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            return None

    # A step

    def step(self) -> bool:
        """Move every slot of one lane one step. Return whether there was anything to do."""
        self._last_beat_s = began_s = self._clock.monotonic_s()
        self._take_posted()
        key = self._batching.next_lane()
        if key is None:
            return False
        lane = self._admit(key)
        if lane.slots and self._advance(lane):
            self._count(lane, began_s)
            self._report(lane)
            self._retire(lane)
        self._close(lane)
        return True

    def _take_posted(self) -> None:
        while self._posted:
            self._posted.popleft()()

    def _admit(self, key: LaneKey) -> Lane:
        """Let waiting requests into the lane's free slots. Text is encoded for all of them at once."""
        lane = self._lanes.get(key)
        if lane is None:
            model = self.models[key.model]
            lane = self._lanes[key] = Lane(model, key, self.capacity(key), self._unet_passes[key.model])
        joining: list[Slot] = []
        for slot in self._batching.admit(key):
            if slot.future.set_running_or_notify_cancel():
                joining.append(slot)
            else:
                self._batching.remove(key, [slot])
        if joining:
            self._join(lane, joining)
        return lane

    def _join(self, lane: Lane, joining: list[Slot]) -> None:
        now_s = self._clock.monotonic_s()
        prompts = [s.prompt for s in joining] + [s.negative for s in joining if s.negative is not None]
        try:
            encoded = lane.model.prompts.embeddings(prompts)
            uncond = iter(encoded[len(joining) :])
            lane.join(joining, encoded[: len(joining)], [next(uncond) if s.negative else None for s in joining])
        except Exception as error:  # the per-job guard: those who join fail, those inside go on
            self._fail(joining, render_error(error))
            return
        for slot in joining:
            slot.joined_s = now_s

    def _advance(self, lane: Lane) -> bool:
        """Make the pass. Return whether it succeeded; if not, its jobs have failed and the lane is empty."""
        try:
            lane.advance()
            self._pace.tick()
        except Exception as error:  # the per-job guard, here of all jobs that shared the pass
            slots = list(lane.slots)
            del self._lanes[lane.key]
            self._fail(slots, render_error(error))
            lane.slots.clear()
            return False
        return True

    def _count(self, lane: Lane, began_s: float) -> None:
        self._last_beat_s = self._clock.monotonic_s()
        self._counts.add_step(
            num_rows=lane.num_rows,
            num_padded_rows=lane.num_padded_rows,
            num_slots=len(lane.slots),
            capacity=self.capacity(lane.key),
            is_loaded=self._batching.num_waiting > 0,
            seconds=self._last_beat_s - began_s,
        )

    def _report(self, lane: Lane) -> None:
        failed: list[tuple[Slot, Exception]] = []
        for slot in lane.slots:
            if slot.on_step is None:
                continue
            try:
                slot.on_step(lane.num_passes - slot.joined_at, slot.schedule.num_steps)
            except Exception as error:  # the per-job guard: a caller's callback is the caller's affair
                failed.append((slot, error))
        for slot, error in failed:
            lane.leave([slot])
            self._fail([slot], error)

    def _retire(self, lane: Lane) -> None:
        """Decode and hand over the slots that made their last step. Device-to-host syncs, once per finished picture."""
        finished = lane.finished()
        if not finished:
            return
        x_BCHW = torch.stack(lane.leave(finished))
        at_once = max(1, MAX_DECODED_AT_ONCE * self.capacity(lane.key) // self.max_images)
        for slot, outcome in pictures(lane.model, finished, x_BCHW, at_once, self._clock):
            if isinstance(outcome, Exception):
                self._fail([slot], outcome)
                continue
            self._batching.remove(slot.key, [slot])
            self._counts.num_done += 1
            slot.future.set_result(outcome)
        self._last_beat_s = self._clock.monotonic_s()

    def _close(self, lane: Lane) -> None:
        """Free the tensors of a lane without work."""
        if lane.key not in self._batching.lanes:
            self._lanes.pop(lane.key, None)

    # Ends

    def _drop(self, future: Future[Rendered], reason: str) -> None:
        for slot in self._batching.items():
            if slot.future is not future:
                continue
            lane = self._lanes.get(slot.key)
            if lane is not None and slot in lane.slots:
                lane.leave([slot])
            self._fail([slot], Dropped(reason))
            if lane is not None:
                self._close(lane)

    def _fail(self, slots: list[Slot], error: Exception) -> None:
        for slot in slots:
            self._batching.remove(slot.key, [slot])
            self._counts.num_failed += 1
            # A job that still waits may have been cancelled by its owner, and then is done already.
            if slot.future.running() or slot.future.set_running_or_notify_cancel():
                slot.future.set_exception(error)

    def _end_all(self, reason: str) -> None:
        """Fail whatever is left with EngineStopped. What was posted but not begun is taken first, to be failed too."""
        self._take_posted()
        self._lanes.clear()
        self._fail(self._batching.items(), EngineStopped(f"{reason}: submit the job again"))

    def _latents_of(self, future: Future[Rendered]) -> Tensor | None:
        for lane in self._lanes.values():
            for slot in lane.slots:
                if slot.future is future:
                    return lane.latents_of(slot)
        return None

    def _foreseen(self) -> list[tuple[list[tuple[Slot, int]], Tensor]]:
        """Return, lane by lane, the slots with the steps that they made, and where they are heading."""
        begun = [lane for lane in self._lanes.values() if lane.slots and lane.num_passes]
        return [([(s, lane.num_passes - s.joined_at) for s in lane.slots], lane.foreseen()) for lane in begun]

    def _model_of(self, request: RenderRequest) -> Model:
        if request.model is None:
            return next(iter(self.models.values()))
        if request.model not in self.models:
            raise UnknownModel(request.model, self.models)
        return self.models[request.model]
