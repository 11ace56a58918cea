"""The doors through which the farm's code meets the world: records, pictures, an engine. Each call is a point at which
others may get the turn, and at which something may go wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from sigmafarm_common.errors import (
    Dropped,
    EngineStopped,
    NotFound,
    OutOfDeviceMemory,
    RenderError,
    StorageUnavailable,
    StoreUnavailable,
)
from sigmafarm_common.objects.protocol import ObjectInfo
from sigmafarm_common.records import ModelCard
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import EngineStats, Glimpse, OnStep, Rendered
from tests.simulation.scheduler import Ended, Process

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Seconds of a call that takes long, at most: longer than a lease.
LONGEST_CALL_S = 6.0
#: Seconds of a step of an engine.
STEP_S = 0.25
AWAY = "Redis is out of reach (simulated): start it"
MODEL = "sim"
DEFAULTS: Mapping[str, Any] = {"height": 64, "width": 64, "num_inference_steps": 4}
#: What the names of processes that submit begin with.
SUBMITTER = "p"
#: How often a job that needs much memory finds too little.
NO_MEMORY = 0.5
#: Calls of which RedisStore says itself which one they are: said twice, they are one there and two in the model.
NUMBERED = frozenset({"begin_batch", "add_rows"})
PIXELS = np.zeros((8, 8, 3), np.uint8)
LATENTS = np.zeros((4, 1, 1), np.float32)


class StoreSeam:
    """The records as one process sees them: each method of the store, over a network."""

    def __init__(self, process: Process, world: World):
        self._process, self._world = process, world

    def __getattr__(self, name: str) -> Callable[..., Any]:
        ask = partial(self._world.ask, name) if self._world.twin else getattr(self._world.store, name)

        def call(*said: Any, **more: Any) -> Any:
            return self._call(name, lambda: ask(*said, **more), said)

        setattr(self, name, call)
        return call

    def wait_for_bell(self, timeout_s: float) -> bool:
        """Wait in virtual time."""
        self._arrive("wait_for_bell")
        bell = self._world.store.bell
        rang = self._world.scheduler.wait(timeout_s, lambda: bell.is_set() or self._world.is_store_away)
        if self._world.is_store_away:
            raise StoreUnavailable(AWAY)
        bell.clear()
        return rang

    def _call(self, name: str, method: Callable[[], Any], said: tuple[Any, ...]) -> Any:
        world, mix, chance = self._world, self._world.mix, self._world.scheduler.chance
        self._arrive(name)
        if chance.random() < mix.lost_request:
            self._excuse()
            raise StoreUnavailable(AWAY)
        answer = method()
        job = said[0] if said and isinstance(said[0], str) else ""
        world.note(f"{self._process.name} {name} {job}".rstrip())
        is_claim = name == "claim"
        if chance.random() < mix.said_twice and name not in NUMBERED:  # a connection that breaks is tried once more
            if is_claim:
                world.note_lost_claim(said[0])
            answer = method()
        if self._process.name[0] == "w" and chance.random() < mix.death:
            world.excuse(self._process.name, float("inf"))
            world.scheduler.end(self._process)
        if self._process.name[0] == SUBMITTER and chance.random() < mix.submitter_death:
            world.note(f"{self._process.name} dies while it submits")
            world.scheduler.end(self._process)
        if chance.random() < mix.lost_answer:
            self._excuse()
            if is_claim:
                world.note_lost_claim(said[0])
            raise StoreUnavailable(AWAY)
        world.scheduler.give_way()
        return answer

    def _excuse(self, for_s: float = 0.0) -> None:
        self._world.excuse(self._process.name, for_s)

    def _arrive(self, name: str) -> None:
        if not self._process.is_alive:
            raise Ended
        world = self._world
        world.scheduler.give_way()
        if world.scheduler.chance.random() < world.mix.slow_call:
            slow_s = world.scheduler.chance.uniform(0, world.config.redis_timeout_s)
            self._excuse(slow_s)
            world.scheduler.wait(slow_s)
        if world.is_store_away:
            world.scheduler.wait(world.scheduler.chance.uniform(0, world.config.redis_timeout_s))
            raise StoreUnavailable(AWAY)


class ObjectsSeam:
    """The object store as one process sees it."""

    def __init__(self, process: Process, world: World):
        self._process, self._world = process, world

    def check(self) -> None:
        self._arrive()

    def put(self, key: str, data: bytes | BinaryIO, content_type: str) -> None:
        self._arrive()
        whole = data if isinstance(data, bytes) else data.read()
        self._world.put(key, whole)
        self._leave()

    def get(self, key: str) -> bytes:
        self._arrive()
        if key not in self._world.objects:
            raise NotFound(f"no object {key}")
        return self._world.objects[key]

    def stream(self, key: str) -> Iterator[bytes]:
        return iter([self.get(key)])

    def stat(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self.get(key)), 0)

    def delete(self, key: str) -> None:
        self._arrive()
        self._world.delete(key)
        self._leave()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self._arrive()
        assert "/" in prefix, "a sweep of all batches at once is not simulated"
        return iter([ObjectInfo(key, len(self._world.objects[key]), 0) for key in self._world.keys(prefix)])

    def partials(self) -> Iterator[ObjectInfo]:
        return iter(())

    def _arrive(self) -> None:
        if not self._process.is_alive:
            raise Ended
        scheduler, mix = self._world.scheduler, self._world.mix
        scheduler.give_way()
        if scheduler.chance.random() < mix.slow_object:
            scheduler.wait(scheduler.chance.uniform(0, LONGEST_CALL_S))
        if self._world.is_storage_away or scheduler.chance.random() < mix.refused_object:
            raise StorageUnavailable("the object store refuses (simulated)")

    def _leave(self) -> None:
        scheduler = self._world.scheduler
        scheduler.give_way()
        if scheduler.chance.random() < self._world.mix.lost_object_answer:
            raise StorageUnavailable("the object store did not answer (simulated)")


class VirtualFuture:
    """What a picture comes by."""

    def __init__(self, world: World):
        self._world = world
        self.is_done = False
        self._value: Rendered | Exception = CancelledError()

    def result(self, timeout: float | None = None) -> Rendered:
        self._world.scheduler.wait(float("inf") if timeout is None else timeout, lambda: self.is_done)
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def set(self, value: Rendered | Exception) -> None:
        self._value, self.is_done = value, True


class _Slot:
    """A job in an engine."""

    def __init__(self, request: RenderRequest, on_step: OnStep | None, future: VirtualFuture):
        self.request, self.on_step, self.future = request, on_step, future
        self.step = 0


class VirtualEngine:
    """Moves its slots a step at a time, in virtual time. A prompt's first word may ask for a fault: poison, broken,
    memory (now and then)."""

    models: Mapping[str, Any]
    broken: Mapping[str, str] = {}
    max_pixels: Mapping[str, int] = {}
    memory_bytes = 0

    def __init__(self, process: Process, world: World, max_images: int):
        self._process, self._world, self.max_images = process, world, max_images
        self.models = {MODEL: self}
        self.last_beat_s = world.scheduler.now_s
        self.stats = EngineStats(step_s=STEP_S)
        self._waiting: list[_Slot] = []
        self._slots: list[_Slot] = []
        self._drops: list[tuple[VirtualFuture, str]] = []
        self._is_stopped = False

    def card(self) -> ModelCard:
        return ModelCard(name=MODEL, defaults=DEFAULTS, fingerprint="simulated")

    def submit(self, request: RenderRequest, on_step: OnStep | None = None, **_given: object) -> VirtualFuture:
        future = VirtualFuture(self._world)
        if self._is_stopped:
            future.set(EngineStopped("the engine has stopped"))
        else:
            self._waiting.append(_Slot(request, on_step, future))
        return future

    def drop(self, future: VirtualFuture, reason: str) -> None:
        self._drops.append((future, reason))

    def glimpses(self, timeout_s: float = 60.0) -> list[Glimpse]:
        return []

    def warm_up(self) -> float:
        return STEP_S

    def start(self) -> None:
        self._world.scheduler.start(self._process, self._run)

    def stop(self, timeout_s: float | None = None) -> None:
        self._is_stopped = True

    def _run(self) -> None:
        scheduler = self._world.scheduler
        while not self._is_stopped:
            self.last_beat_s = scheduler.now_s
            self._take_drops()
            while self._waiting and len(self._slots) < self.max_images:
                self._slots.append(self._waiting.pop(0))
            for slot in list(self._slots):
                self._advance(slot)
            if self._slots:
                scheduler.wait(STEP_S)
            else:
                scheduler.wait(2.0, lambda: bool(self._waiting or self._drops or self._is_stopped))
        for slot in [*self._slots, *self._waiting]:
            slot.future.set(EngineStopped("the engine was stopped", was_drawn=slot in self._slots))

    def _take_drops(self) -> None:
        for future, reason in self._drops:
            for place in (self._slots, self._waiting):
                for slot in [each for each in place if each.future is future]:
                    place.remove(slot)
                    self._world.num_steps_dropped += slot.step
                    future.set(Dropped(reason))
        self._drops.clear()

    def _advance(self, slot: _Slot) -> None:
        slot.step += 1
        self._world.num_steps += 1
        if slot.on_step is not None:
            slot.on_step(slot.step, slot.request.num_inference_steps or 1)
        kind = slot.request.prompt.partition(" ")[0]
        if kind == "poison" and slot.step == 2:
            self._world.note(f"{self._process.name} is poisoned")
            self._world.excuse(self._process.name, float("inf"))
            self._world.scheduler.end(self._process)
        if kind == "broken" and slot.step == 2:
            self._slots.remove(slot)
            slot.future.set(RenderError("asked for by its prompt"))
        elif kind == "memory" and slot.step == 2 and self._world.scheduler.chance.random() < NO_MEMORY:
            self._slots.remove(slot)
            slot.future.set(OutOfDeviceMemory("asked for by its prompt"))
        elif slot.step >= (slot.request.num_inference_steps or 1):
            self._slots.remove(slot)
            self._world.num_drawn += 1
            slot.future.set(Rendered(PIXELS, LATENTS, slot.request, 1.0, "simulated"))


def encoder(world: World) -> Callable[..., bytes]:
    """Return what stands for the encoder of pictures: bytes that differ from process to process."""

    def encode(_pixels: object, _format: object, request: RenderRequest, *_rest: object) -> bytes:
        return f"{request.prompt} {request.seed} by {world.scheduler.process_name}".encode()

    return encode


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
