"""An engine without torch, for faults by the dozen: a few milliseconds a step, a picture made of prompt and seed.

It keeps the promises of Engine that a worker builds on: joins and leaves between two steps, beats, ends every future. A
prompt's first word may ask for a fault of the job's own, once its second step is done:

    poison    the process kills itself
    device    the device is broken from then on: the engine ends, with every job in it
    broken    RenderError (cannot be retried)
    memory    OutOfDeviceMemory (can be retried)
    slow      no fault: a step of it takes SLOW_STEP_S, whatever stands beside it

The lowest bits of a picture differ from process to process, as those of two kinds of GPU do: an object that another
process overwrote has another SHA-256 than its record. How every try ended stands in the journal.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sigmafarm_common.config import Config
from sigmafarm_common.errors import Dropped, EngineStopped, OutOfDeviceMemory, RenderError, UnknownModel
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.records import ModelCard
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import USUAL_IMAGES, EngineStats, Glimpse, OnStep, Rendered
from tests.chaos import journal

#: Seconds of a step, unless the environment says otherwise.
STEP_VARIABLE, STEP_S = "CHAOS_STEP_S", 0.005
#: Seconds of a step of a slow job.
SLOW_STEP_S = 0.3
#: Seconds of every step while the engine crawls.
CRAWL_S = 0.2
#: Pause between two looks while there is nothing to do.
IDLE_S = 0.05
#: What its models are made of: in every process the same, though the lowest bits are not.
FINGERPRINT = "simulated"


@dataclass(frozen=True)
class SimulatedModel:
    """A name and its defaults."""

    spec: ModelSpec

    def card(self) -> ModelCard:
        return ModelCard(name=self.spec.name, defaults=self.spec.defaults, fingerprint=FINGERPRINT)


@dataclass(eq=False)
class SimulatedSlot:
    """One job in flight."""

    request: RenderRequest
    future: Future[Rendered]
    on_step: OnStep | None
    init_image: NDArray[np.uint8] | None = None
    mask_image: NDArray[np.uint8] | None = None
    step: int = 0
    began_s: float = field(default_factory=time.monotonic)
    #: When its next step may be done.
    due_s: float = 0.0

    @property
    def is_slow(self) -> bool:
        return _kind(self.request) == "slow"


class SimulatedEngine:
    """Moves up to max_images slots a step at a time, in a thread of its own."""

    def __init__(
        self,
        models: Mapping[str, SimulatedModel],
        max_images: int,
        *,
        stands_still: Callable[[], bool],
        crawls: Callable[[], bool],
    ):
        self.models = models
        self.broken: Mapping[str, str] = {}
        self.max_pixels: Mapping[str, int] = {}
        self.last_beat_s = time.monotonic()
        #: What makes the pictures of this process its own.
        self.token = secrets.token_bytes(8)
        self.max_images, self._stands_still, self._crawls = max_images, stands_still, crawls
        self._step_s = float(os.environ.get(STEP_VARIABLE, STEP_S))
        self._waiting: deque[SimulatedSlot] = deque()
        self._slots: list[SimulatedSlot] = []
        self._drops: deque[tuple[Future[Rendered], str]] = deque()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulated-engine", daemon=True)

    @property
    def stats(self) -> EngineStats:
        return EngineStats(step_s=self._step_s)

    @property
    def memory_bytes(self) -> int:
        return 1 << 20

    def glimpses(self, timeout_s: float = 60.0) -> list[Glimpse]:
        """The picture's mean colour, from the first step on."""
        with self._lock:
            slots = [s for s in self._slots if s.step]
        means = [picture(s.request).mean(axis=(0, 1)) for s in slots]
        return [
            Glimpse(s.future, s.step, np.broadcast_to(mean, (8, 8, 3)).astype(np.uint8))
            for s, mean in zip(slots, means, strict=True)
        ]

    def submit(
        self,
        request: RenderRequest,
        on_step: OnStep | None = None,
        *,
        init_image: NDArray[np.uint8] | None = None,
        mask_image: NDArray[np.uint8] | None = None,
    ) -> Future[Rendered]:
        future: Future[Rendered] = Future()
        if request.model not in self.models:
            future.set_exception(UnknownModel(request.model or "", self.models))
            return future
        card = self.models[request.model].card()
        with self._lock:
            if not self._stop.is_set():
                slot = SimulatedSlot(request.resolved(card.defaults), future, on_step, init_image, mask_image)
                self._waiting.append(slot)
                return future
        future.set_exception(EngineStopped("the engine has stopped: submit the job again"))
        return future

    def drop(self, future: Future[Rendered], reason: str) -> None:
        self._drops.append((future, reason))

    def warm_up(self) -> float:
        return self._step_s

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        with self._lock:
            self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            while self._stands_still():
                time.sleep(IDLE_S)
            self.last_beat_s = time.monotonic()
            self._take_drops()
            self._admit()
            for slot in list(self._slots):
                self._advance(slot)
            self._stop.wait(self._pause_s())
        with self._lock:
            drawn, waiting = list(self._slots), list(self._waiting)
        for slot in drawn + waiting:
            self._end(slot, error=EngineStopped("the engine was stopped", was_drawn=slot in drawn))

    def _pause_s(self) -> float:
        if not self._slots:
            return IDLE_S
        return CRAWL_S if self._crawls() else self._step_s

    def _take_drops(self) -> None:
        while self._drops:
            future, reason = self._drops.popleft()
            for slot in [s for s in [*self._slots, *self._waiting] if s.future is future]:
                self._end(slot, error=Dropped(reason))

    def _admit(self) -> None:
        with self._lock:
            while self._waiting and len(self._slots) < self.max_images:
                self._slots.append(self._waiting.popleft())

    def _advance(self, slot: SimulatedSlot) -> None:
        if slot.is_slow:
            if time.monotonic() < slot.due_s:
                return
            slot.due_s = time.monotonic() + SLOW_STEP_S
        slot.step += 1
        if slot.on_step is not None:
            slot.on_step(slot.step, slot.request.num_inference_steps or 1)
        if slot.step == 2 and _kind(slot.request) == "device":
            with self._lock:
                self._stop.set()
        elif slot.step == 2 and (error := _fault(slot.request)):
            self._end(slot, error=error)
        elif slot.step >= (slot.request.num_inference_steps or 1):
            self._end(slot)

    def _end(self, slot: SimulatedSlot, *, error: Exception | None = None) -> None:
        with self._lock:
            for place in (self._slots, self._waiting):
                if slot in place:
                    place.remove(slot)
        request = slot.request
        journal.note(request.prompt, request.seed, slot.step, type(error).__name__ if error else "drawn")
        if error is not None:
            slot.future.set_exception(error)
            return
        pixels = drawn_over(slot) ^ lowest_bits(self.token, slot.request)
        latents = np.zeros((4, pixels.shape[0] // 8, pixels.shape[1] // 8), np.float32)
        took_s = time.monotonic() - slot.began_s
        slot.future.set_result(Rendered(pixels, latents, slot.request, took_s, FINGERPRINT))


def drawn_over(slot: SimulatedSlot) -> NDArray[np.uint8]:
    """Return a slot's pixels: those of the picture that it begins with where its mask is 0, of `picture` elsewhere."""
    own = picture(slot.request)
    if slot.init_image is None or slot.mask_image is None:
        return own
    return np.where(slot.mask_image[..., None] == 0, slot.init_image, own)


def picture(request: RenderRequest) -> NDArray[np.uint8]:
    """Return the pixels that a request gives on any engine, alone or in company, but for the lowest bits."""
    key = hashlib.sha256(f"{request.prompt}\n{request.seed}".encode()).digest()
    return _random(list(key), request, 256)


def lowest_bits(token: bytes, request: RenderRequest) -> NDArray[np.uint8]:
    """Return what an engine turns in every picture of a size: 0 or 1."""
    return _random(list(token), request, 2)


def _random(key: list[int], request: RenderRequest, top: int) -> NDArray[np.uint8]:
    height, width = request.height or 64, request.width or 64
    return np.random.default_rng(key).integers(0, top, (height, width, 3), np.uint8)


def _kind(request: RenderRequest) -> str:
    return request.prompt.partition(" ")[0]


def _fault(request: RenderRequest) -> Exception | None:
    kind = _kind(request)
    if kind == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "broken":
        return RenderError("the pass failed: asked for by its prompt")
    return OutOfDeviceMemory("no memory left: asked for by its prompt") if kind == "memory" else None


def make_engine(
    config: Config,
    specs: Mapping[str, ModelSpec],
    *,
    kind: type[SimulatedEngine] = SimulatedEngine,
    stands_still: Callable[[], bool] = lambda: False,
    crawls: Callable[[], bool] = lambda: False,
) -> SimulatedEngine:
    """Return an engine of simulated models, of a class of the caller's where it has one."""
    models = {name: SimulatedModel(spec) for name, spec in specs.items()}
    return kind(models, config.max_images or USUAL_IMAGES, stands_still=stands_still, crawls=crawls)
