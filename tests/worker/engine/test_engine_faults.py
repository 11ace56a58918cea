"""Faults everywhere in a step: whatever raises, and whenever, the engine lives and harms only those who took part."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
import torch

from sigmafarm_common.errors import (
    Dropped,
    EngineStopped,
    OutOfDeviceMemory,
    PictureTooLarge,
    RenderError,
    SigmafarmError,
)
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine import Engine, stepping
from sigmafarm_worker.engine.batching import Batching
from sigmafarm_worker.engine.encoding import Encoding
from sigmafarm_worker.engine.failures import is_broken, is_out_of_memory
from sigmafarm_worker.engine.frugal_pass import FrugalPass
from sigmafarm_worker.engine.lane import Lane
from sigmafarm_worker.engine.outside import Outside
from sigmafarm_worker.engine.pace import Pace
from sigmafarm_worker.engine.retiring import Retiring
from sigmafarm_worker.engine.sizes import Sizes
from sigmafarm_worker.engine.stats import Counts
from sigmafarm_worker.engine.unet_pass import EagerPass
from sigmafarm_worker.models import Model
from sigmafarm_worker.models.prompts import PromptEncoder
from tests.limits import LIMIT_S

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")

#: Whatever a step calls, by class or module.
COLLABORATORS: list[tuple[Any, str]] = [
    (Lane, "__init__"),
    (Lane, "_allocate"),
    (Lane, "join"),
    (Lane, "_write"),
    (Lane, "_lay_out"),
    (Lane, "_move"),
    (Lane, "leave"),
    (Lane, "advance"),
    (Lane, "finished"),
    (Lane, "latents"),
    (Lane, "foreseen"),
    (Batching, "add"),
    (Batching, "admit"),
    (Batching, "remove"),
    (PromptEncoder, "embeddings"),
    (PromptEncoder, "_encode"),
    (PromptEncoder, "_remember"),
    (FrugalPass, "__call__"),
    (EagerPass, "__call__"),
    (Pace, "tick"),
    (Counts, "add_step"),
    (Sizes, "note_done"),
    (Retiring, "pictures"),
    (Retiring, "_decoded"),
    (Model, "decode"),
    (Encoding, "failures"),
    (Encoding, "_encode"),
    (Model, "encode"),
    (Outside, "__init__"),
    (Outside, "write"),
    (Outside, "put_back"),
    (stepping, "begin"),
]


class Injected(Exception):
    """What a fault raises that nobody foresaw."""


@contextmanager
def fault(place: tuple[Any, str], error: Exception, *, at_call: int) -> Iterator[Callable[[], bool]]:
    """Have one call of a function raise. Gives whether it came to that call."""
    owner, name = place
    original, calls = getattr(owner, name), Counter[str]()

    def faulty(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        if calls[name] == at_call:
            raise error
        return original(*args, **kwargs)

    setattr(owner, name, faulty)
    try:
        yield lambda: calls[name] >= at_call
    finally:
        setattr(owner, name, original)


def request(seed: int, **said: Any) -> RenderRequest:
    given = {"prompt": f"thing {seed}", "num_inference_steps": 2 + seed % 3, "guidance_scale": 1 + seed % 2}
    return RenderRequest.parse({**given, "seed": seed, **said})


#: Two sizes, more jobs than slots, guided and not, with steps of their own; one starts from a picture, one has a mask.
SCENE = [request(seed, width=64 + 8 * (seed % 2)) for seed in range(5)]
PICTURE, MASK = np.full((64, 72, 3), 90, np.uint8), np.repeat(np.uint8([0, 255]), 36)[None].repeat(64, axis=0)
PICTURES: dict[int, dict[str, Any]] = {1: {"init_image": PICTURE, "mask_image": MASK}, 3: {"init_image": PICTURE}}


def submit_all(engine: Engine) -> dict[int, Future[Rendered]]:
    return {r.seed or 0: engine.submit(r, **PICTURES.get(r.seed or 0, {})) for r in SCENE}


def assert_consistent(engine: Engine) -> None:
    """Whom batching has inside a lane are that lane's slots, none of them done; and there is no lane without work."""
    stepper = engine._stepper
    assert set(stepper.lanes) <= set(stepper.batching.lanes)
    for key in stepper.batching.lanes:
        lane = stepper.lanes.get(key)
        inside = stepper.batching.inside(key)
        assert set(map(id, lane.slots if lane else [])) == set(map(id, inside))
        assert not any(slot.future.done() for slot in inside)
        assert len(inside) <= stepper.capacity(key)


def run_watched(engine: Engine) -> None:
    for _ in range(100):
        if not engine.step():
            return
        assert_consistent(engine)
        with suppress(Injected, torch.OutOfMemoryError):  # a look that fails is the looker's affair
            engine.glimpses()
    raise AssertionError("the engine does not come to an end")


@pytest.fixture(scope="module")
def solo(light: Model, draw_alone: Callable[..., Rendered]) -> dict[int, Rendered]:
    return {r.seed or 0: draw_alone(r, light, **PICTURES.get(r.seed or 0, {})) for r in SCENE}


@pytest.mark.parametrize("error", [Injected("nobody foresaw this"), OUT_OF_MEMORY], ids=["unforeseen", "memory"])
@pytest.mark.parametrize("place", COLLABORATORS, ids=lambda p: f"{p[0].__name__}.{p[1]}")
def test_a_fault_at_any_call_of_a_step_ends_only_jobs_that_took_part(place, error, light, solo, monkeypatch):
    monkeypatch.setattr(light.prompts, "_embeddings", type(light.prompts._embeddings)())
    at_call = 0
    while True:
        at_call += 1
        light.prompts._embeddings.clear()
        engine = Engine(light, max_images=2)
        with fault(place, error, at_call=at_call) as happened:
            futures = submit_all(engine)
            engine.drop(futures[4], "cancelled")
            run_watched(engine)
        if not happened():
            break

        for seed, future in futures.items():
            assert future.done(), f"job {seed} hangs after {place[1]} raised at call {at_call}"
            failed = future.exception(0)
            if failed is None:
                assert np.abs(future.result(0).latents - solo[seed].latents).max() < 1e-3
            elif not isinstance(failed, Dropped):
                assert isinstance(failed, SigmafarmError), repr(failed)
        last = engine.submit(request(0))
        run_watched(engine)
        assert last.result(0).seed == 0, f"the engine draws no more after {place[1]} raised at call {at_call}"
        # Lanes have two slots: who is not in the lane with the fault is drawn.
        assert sum(f.exception(0) is None for f in futures.values()) >= 2
    assert at_call > 1, "the scene never comes to this call"


def test_a_look_that_raises_is_the_lookers_affair(model):
    engine, began = Engine(model), threading.Event()
    future = engine.submit(request(1, num_inference_steps=1000), lambda done, total: began.set())
    engine.start()
    assert began.wait(LIMIT_S)

    with fault((Lane, "foreseen"), Injected("no preview"), at_call=1), pytest.raises(Injected, match="no preview"):
        engine.glimpses()
    with fault((Lane, "latents"), TimeoutError("its own"), at_call=1), pytest.raises(TimeoutError, match="its own"):
        engine.latents_of(future)

    assert engine.is_running
    assert len(engine.glimpses()) == 1
    engine.stop()


def test_jobs_that_cannot_join_together_join_one_by_one_and_the_one_to_blame_fails_alone(light, solo, monkeypatch):
    write = Lane._write

    def write_all_but_one(self: Lane, i: int, slot: Any, *embeddings: Any) -> None:
        if slot.request.seed == 2:
            raise OUT_OF_MEMORY
        write(self, i, slot, *embeddings)

    monkeypatch.setattr(Lane, "_write", write_all_but_one)
    engine = Engine(light, max_images=4)
    futures = {seed: engine.submit(SCENE[seed]) for seed in (0, 2, 4)}
    run_watched(engine)

    with pytest.raises(OutOfDeviceMemory, match=r"no memory left for letting the job in \(CUDA out of memory"):
        futures[2].result(0)
    for seed in (0, 4):
        assert np.abs(futures[seed].result(0).latents - solo[seed].latents).max() < 1e-3


# A picture too large for the device


def run_with_little_memory(light: Model, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]) -> None:
    """Draw a picture that finds no memory in one place, among others that do."""
    original = getattr(*place)

    def refuse_large(*args: Any, **kwargs: Any) -> Any:
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        if max(tensors[0].shape[2:]) > 16 if tensors else args[2].height > 128:
            raise RuntimeError("CUDA error: out of memory")
        return original(*args, **kwargs)

    monkeypatch.setattr(place[0], place[1], refuse_large)
    engine = Engine(light, max_images=4)
    others = [engine.submit(request(seed)) for seed in range(3)]
    large = engine.submit(request(7, height=256, width=192))
    run_watched(engine)

    with pytest.raises(PictureTooLarge, match=r"192 x 256 is too large for this device \(cpu\).*draw at most 64 x 64"):
        large.result(0)
    assert not large.exception(0).retryable  # type: ignore[union-attr]
    assert [f.result(0).seed for f in others] == [0, 1, 2]


@pytest.mark.parametrize(
    "place", [(Lane, "__init__"), (EagerPass, "__call__"), (Model, "decode")], ids=["opening", "passing", "decoding"]
)
def test_a_picture_too_large_for_the_device_fails_alone_and_is_not_tried_again(place, light, monkeypatch):
    run_with_little_memory(light, monkeypatch, place)


def test_memory_that_is_short_for_a_size_that_was_drawn_before_can_be_tried_again(light):
    engine = Engine(light)
    large = request(1, height=128, width=128)
    first = engine.submit(large)
    run_watched(engine)
    assert first.result(0).seed == 1

    for place in ((Lane, "__init__"), (EagerPass, "__call__"), (Model, "decode")):
        with_one_slot = Engine(light, max_images=1)
        with_one_slot._stepper._sizes = engine._stepper._sizes
        with_one_slot._stepper._retiring._sizes = engine._stepper._sizes
        with_one_slot._stepper.unet_passes = engine._stepper.unet_passes
        with monkeypatched(place, OUT_OF_MEMORY):
            future = with_one_slot.submit(large)
            run_watched(with_one_slot)
        failed = future.exception(0)
        assert isinstance(failed, OutOfDeviceMemory)
        assert failed.retryable, place


@contextmanager
def monkeypatched(place: tuple[Any, str], error: Exception) -> Iterator[None]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place[0], place[1], refuse)
        yield


def test_a_lane_without_memory_for_all_its_slots_is_opened_with_one(light, solo, monkeypatch):
    allocate = Lane._allocate

    def allocate_one(self: Lane, S: int, H: int, W: int) -> None:
        if S > 1:
            raise OUT_OF_MEMORY
        allocate(self, S, H, W)

    monkeypatch.setattr(Lane, "_allocate", allocate_one)
    engine = Engine(light, max_images=4)
    futures = submit_all(engine).values()
    run_watched(engine)

    for r, future in zip(SCENE, futures, strict=True):
        assert np.abs(future.result(0).latents - solo[r.seed].latents).max() < 1e-3


def real_shortage() -> Exception:
    try:
        torch.empty(1 << 60)
    except Exception as error:
        return error
    raise AssertionError("2 EiB were had")


def masked_shortage() -> Exception:
    """What a broken-off capture raises: the shortage stands behind it."""
    try:
        try:
            raise OUT_OF_MEMORY
        finally:
            raise torch.AcceleratorError("CUDA error: operation failed due to a previous error during capture")
    except Exception as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        OUT_OF_MEMORY,
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be reported elsewhere"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("FIND was unable to find an engine to execute this computation"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to allocate 9"
        ),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
        MemoryError(),
        masked_shortage(),
        real_shortage(),
    ],
    ids=lambda e: f"{type(e).__name__}: {str(e)[:40]}",
)
def test_every_face_of_memory_that_ran_out_is_known(error, light):
    assert is_out_of_memory(error)
    assert not is_broken(error)

    engine = Engine(light, max_images=4)
    with fault((EagerPass, "__call__"), error, at_call=2) as happened:
        futures = [engine.submit(request(seed)) for seed in (0, 2)]
        run_watched(engine)

    assert happened()
    assert [f.result(0).seed for f in futures] == [0, 2], "met by smaller passes"


@pytest.mark.parametrize(
    "error",
    [torch.AcceleratorError("CUDA error: an illegal memory access"), RuntimeError("shapes differ"), OSError(2, "x")],
)
def test_other_errors_are_no_shortage(error):
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(handle, opa, opb, m, n)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDART"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION"),
        RuntimeError("HIP error: the operation cannot be performed in the present state"),
    ],
    ids=str,
)
def test_a_broken_device_has_many_names_and_ends_the_engine_under_every_job(light, error):
    """Guards is_broken. Without it a broken device fails one pass after the other, each with the tries of its jobs."""
    engine = Engine(light, max_images=2)
    with fault((EagerPass, "__call__"), error, at_call=2) as happened:
        futures = [engine.submit(request(seed)) for seed in range(3)]
        engine.start()
        ended = [f.exception(LIMIT_S) for f in futures]
        engine.stop()

    assert happened()
    assert [(type(e), getattr(e, "was_drawn", None)) for e in ended] == [
        (EngineStopped, True),
        (EngineStopped, True),
        (EngineStopped, False),
    ], "those in the pass may have broken it, who waits has not"


def test_an_error_of_the_farm_is_not_judged_by_its_words_nor_by_what_stands_behind_it():
    error = RenderError("the pass failed: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")
    error.__cause__ = torch.AcceleratorError("CUDA error: unknown error")

    assert not is_broken(error)


# What owners do with their futures


def test_an_owner_who_ends_his_future_himself_harms_nobody(engine, run):
    mine, other, waits = (engine.submit(request(seed)) for seed in (0, 1, 2))
    waits.set_result("I know better")  # type: ignore[arg-type]
    engine.step()
    mine.set_exception(ValueError("enough"))
    run(engine)

    assert other.result(0).seed == 1
    assert waits.result(0) == "I know better"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, GeneratorExit])
def test_whatever_a_callback_raises_the_engine_lives(kind, light):
    def fail(*_: Any) -> None:
        raise kind("callback")

    engine = Engine(light)
    by_step, by_end, other = (engine.submit(request(1), fail), engine.submit(request(2)), engine.submit(request(3)))
    by_end.add_done_callback(fail)
    engine.start()

    assert other.result(60).seed == 3
    assert by_end.result(60).seed == 2
    with pytest.raises(RenderError if kind is not ValueError else ValueError, match="callback"):
        by_step.result(60)
    assert engine.is_running
    engine.stop()


def test_futures_cancelled_at_any_moment_harm_nobody(light):
    engine = Engine(light, max_images=2)
    engine.start()
    futures = [engine.submit(request(seed, num_inference_steps=1)) for seed in range(60)]
    cancelled = [f for i, f in enumerate(futures) if i % 2 and f.cancel()]

    for future in futures:
        if future not in cancelled:
            assert future.result(60).pixels is not None
    assert engine.is_running
    engine.stop()


def test_two_threads_may_stop_an_engine_at_once(light):
    engine = Engine(light)
    engine.start()
    futures = [engine.submit(request(seed, num_inference_steps=500)) for seed in range(4)]
    threads = [threading.Thread(target=engine.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert all(future.done() for future in futures)
    assert not engine.is_running
