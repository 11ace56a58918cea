"""How many pictures an engine draws at once, and how large, by its memory: with a stand-in for a GPU's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from sigmafarm_common.job_warnings import WarningCode
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import USUAL_IMAGES
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.memory import Room
from sigmafarm_worker.models import Model

GB = 1 << 30


@dataclass
class PretendedMemory:
    """A device that has so much left, and of which a pass over two rows, and decoding a picture, take so much."""

    free: int
    two_rows: int
    decoding: int
    num_asked: int = 0

    def free_bytes(self) -> int:
        return self.free

    def peak_bytes(self, work: Callable[[], object]) -> int:
        work()
        self.num_asked += 1
        return self.two_rows if self.num_asked % 2 else self.decoding


def of_sd15(free_gb: float) -> PretendedMemory:
    """A device with so much left beside the weights of Stable Diffusion 1.5, whose rows take 0.07 GB at 64 x 64."""
    return PretendedMemory(int(free_gb * GB), int(0.14 * GB), int(0.4 * GB))


@pytest.mark.parametrize(
    ("free_gb", "num_images"),
    [
        (0.5, 1),  # nothing fits, and one picture is drawn as far as it goes
        (3.0, 5),
        (4.0, 10),  # 8 GB card
        (5.0, 16),
        (130.0, 16),  # more of them bring little
    ],
)
def test_an_engine_that_is_not_told_draws_as_many_pictures_as_fit(
    light: Model, free_gb: float, num_images: int
) -> None:
    engine = Engine(light, max_images=None, memory=of_sd15(free_gb))

    engine.warm_up()

    assert engine.max_images == num_images
    assert engine.capacity(_native_lane(engine)) == num_images


def test_an_engine_that_is_told_does_as_it_is_told(light: Model) -> None:
    engine = Engine(light, max_images=7, memory=of_sd15(0.5))

    engine.warm_up()

    assert engine.max_images == 7


def test_without_a_gpu_it_is_the_usual_number_and_no_limit_is_known(light: Model) -> None:
    engine = Engine(light, max_images=None)

    engine.warm_up()

    assert (engine.max_images, engine.max_pixels) == (USUAL_IMAGES, {})


def test_the_model_that_takes_most_decides(light: Model) -> None:
    class Two(PretendedMemory):
        def peak_bytes(self, work: Callable[[], object]) -> int:
            return super().peak_bytes(work) * (1 if self.num_asked < 2 else 3)

    models = {name: replace(light, name=name) for name in ("small", "large")}
    engine = Engine(models, max_images=None, memory=Two(int(5 * GB), int(0.1 * GB), int(0.1 * GB)))

    engine.warm_up()

    assert engine.max_images == 9  # (5 - 4 * 1.3 * 0.3) / (1.25 * 0.3)
    assert engine.max_pixels["small"] == pytest.approx(3 * engine.max_pixels["large"], rel=1e-3)


def test_a_device_whose_memory_cannot_be_measured_draws_all_the_same(light: Model) -> None:
    class Broken(PretendedMemory):
        def peak_bytes(self, work: Callable[[], object]) -> int:
            raise torch.OutOfMemoryError("CUDA out of memory")

    engine = Engine(light, max_images=None, memory=Broken(GB, 1, 1))

    engine.warm_up()

    assert (engine.max_images, engine.max_pixels) == (USUAL_IMAGES, {})


def test_the_largest_picture_is_the_one_of_which_a_single_row_fits() -> None:
    room = Room(free_bytes=7 * GB, row_bytes=GB // 10, decode_bytes=GB, native_pixels=512 * 512)

    assert room.max_pixels == pytest.approx(70 * 512 * 512, rel=1e-6)


def _native_lane(engine: Engine) -> Any:
    from sigmafarm_worker.engine.slot import LaneKey

    ((name, model),) = engine.models.items()
    return LaneKey(name, model.height, model.width)


# Decoding in tiles


class TightVae:
    """A VAE for which a device has memory up to so many latents in one call."""

    def __init__(self, vae: Any, most: int):
        self._vae, self.most, self.sizes = vae, most, list[int]()
        self._decoder = vae.decoder

    def decoder(self, z: torch.Tensor, *rest: Any) -> torch.Tensor:
        self.sizes.append(z.shape[0] * z.shape[2] * z.shape[3])
        if self.sizes[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.44 GiB")
        return self._decoder(z, *rest)


@pytest.fixture
def tight(model: Model, monkeypatch: pytest.MonkeyPatch) -> TightVae:
    """The model's VAE, with memory for a tile and no more."""
    tight = TightVae(model.vae, 32 * 32)
    monkeypatch.setattr(model.vae.decoder, "forward", tight.decoder)
    tight._decoder = type(model.vae.decoder).forward.__get__(model.vae.decoder)
    return tight


def draw(engine: Engine, **said: object) -> Any:
    settings: Mapping[str, Any] = {"prompt": "a boat", "seed": 3, "num_inference_steps": 2, "guidance_scale": 1.0}
    future = engine.submit(RenderRequest.parse({**settings, **said}))
    while engine.step():
        pass
    return future.result(0)


def test_a_picture_that_is_too_large_to_be_decoded_whole_is_decoded_in_tiles(model: Model, tight: TightVae) -> None:
    tight.most = 1 << 30
    whole = draw(Engine(model, max_images=2), height=384, width=320)
    tight.most, tight.sizes[:] = 32 * 32, []

    tiled = draw(Engine(model, max_images=2), height=384, width=320)

    assert [warning.code for warning in tiled.warnings] == [WarningCode.TILED]
    assert "384" in tiled.warnings[0].text
    assert not whole.warnings
    assert np.array_equal(whole.latents, tiled.latents)
    assert max(tight.sizes[1:]) <= 32 * 32
    assert tiled.pixels.shape == whole.pixels.shape
    # Of the same latents by the same weights: where tiles meet and in the norms they differ, and no more.
    difference = np.abs(tiled.pixels.astype(int) - whole.pixels.astype(int))
    assert difference.mean() < 0.1 * whole.pixels.std()


def test_the_next_picture_of_that_size_does_not_try_the_whole_again_at_once(model: Model, tight: TightVae) -> None:
    engine = Engine(model, max_images=2)
    draw(engine, height=384, width=320)
    tight.sizes.clear()

    again = draw(engine, height=384, width=320, seed=4)

    assert [warning.code for warning in again.warnings] == [WarningCode.TILED]
    assert max(tight.sizes) <= 32 * 32


def test_a_picture_as_small_as_a_tile_fails_as_ever(model: Model, tight: TightVae) -> None:
    tight.most = 1

    with pytest.raises(Exception, match="no memory"):
        draw(Engine(model, max_images=2))


# What a GPU does once before anybody waits


def test_every_number_of_pictures_and_prompts_at_once_is_tried_before_anybody_waits(
    light: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    light.prompts._embeddings.clear()  # what was encoded once is remembered
    decoded, encoded = list[int](), list[int]()
    decode, encode = light.vae.decode, type(light.prompts)._encode
    monkeypatch.setattr(light.vae, "decode", lambda z, **k: (decoded.append(len(z)), decode(z, **k))[1])
    monkeypatch.setattr(
        type(light.prompts), "_encode", lambda self, chunks: (encoded.append(len(chunks)), encode(self, chunks))[1]
    )

    Engine(light, max_images=4, memory=of_sd15(5.0)).warm_up()

    assert set(decoded) == {1, 2, 3, 4}
    assert set(encoded) >= {1, 2, 3, 4}


def test_a_number_that_finds_no_memory_keeps_no_worker_from_serving(
    light: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = light.vae.decode

    def tight(z: torch.Tensor, **said: Any) -> Any:
        if len(z) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(z, **said)

    monkeypatch.setattr(light.vae, "decode", tight)
    engine = Engine(light, max_images=4, memory=of_sd15(5.0))

    assert engine.warm_up() > 0
    assert not engine.broken


# The warm-up's thread


def test_a_running_engine_warms_up_in_its_own_thread(light: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    engine = Engine(light, max_images=2)
    seen = list[str]()
    decode = light.vae.decode
    monkeypatch.setattr(
        light.vae, "decode", lambda *a, **k: (seen.append(threading.current_thread().name), decode(*a, **k))[1]
    )
    engine.start()
    try:
        assert engine.warm_up() > 0
        assert set(seen) == {"sigmafarm-engine"}
        assert engine.submit(RenderRequest.parse({"prompt": "a boat", "num_inference_steps": 1})).result(60)
        assert engine.stats.num_done == 1  # the warm-up's own picture does not count
    finally:
        engine.stop()


def test_what_a_warm_up_raises_in_the_thread_comes_to_who_asked(light: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(light, max_images=2)
    monkeypatch.setattr(light.vae, "decode", lambda *_a, **_k: 1 / 0)
    engine.start()
    try:
        with pytest.raises(Exception, match="cannot draw"):
            engine.warm_up()
    finally:
        engine.stop()
