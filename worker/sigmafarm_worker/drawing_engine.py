"""What a worker asks of an engine and what it gets, without torch: the real one draws, a simulated one stands in for it
in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sigmafarm_common.config import Config
from sigmafarm_common.inside import Inside
from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.records import ModelCard
from sigmafarm_common.settings import RenderRequest

#: Pictures that an engine draws at once unless it is told, or memory is short. Sixteen with guidance are 32 rows, which
#: keep a GPU busy; more of them bring little, and each picture takes longer.
USUAL_IMAGES = 16

#: Called as on_step(calls done, num_calls) in the engine's thread: must be cheap and must not block.
OnStep = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Rendered:
    """A finished picture, on the host."""

    #: uint8 [H, W, 3], RGB.
    pixels: NDArray[np.uint8]
    #: float32 [4, H/8, W/8], before the VAE.
    latents: NDArray[np.float32]
    #: The request with every setting filled, the seed among them, and what was lowered for it: drawing it again gives
    #: the same picture.
    request: RenderRequest
    #: Seconds from joining a pass to the finished picture.
    seconds: float
    #: What the model that drew it is made of; see ModelCard.
    fingerprint: str = ""
    #: What is to be known of it although it was drawn.
    warnings: tuple[JobWarning, ...] = ()
    #: The noise levels and the tokens that it was drawn with.
    inside: Inside | None = None
    #: What was measured of its latents (models/latent_range.py): root mean square, largest value, drift.
    figures: tuple[float, ...] = ()

    @property
    def seed(self) -> int:
        assert self.request.seed is not None
        return self.request.seed

    @property
    def num_inference_steps(self) -> int:
        assert self.request.num_inference_steps is not None
        return self.request.num_inference_steps


@dataclass(frozen=True, eq=False)
class Glimpse:
    """What a picture that is being drawn will look like, as far as can be told now."""

    #: That of its submit.
    future: Future[Rendered]
    #: Calls of the network done.
    step: int
    #: uint8 [H/8, W/8, 3], RGB.
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class EngineStats:
    """What the engine has done since it was warmed up, and what it holds now."""

    num_steps: int = 0
    #: Rows that the UNet computed, and how many of them belonged to nobody.
    num_rows: int = 0
    num_padded_rows: int = 0
    #: Slots that steps moved, and slots that these steps' lanes had: their ratio is the fill.
    num_slot_steps: int = 0
    num_slots_offered: int = 0
    #: The same two, counted only over steps at which requests waited for a slot.
    num_slot_steps_under_load: int = 0
    num_slots_offered_under_load: int = 0
    #: Pictures handed over, and jobs that ended without one.
    num_done: int = 0
    num_failed: int = 0
    #: Slots occupied now, requests waiting now, lanes with work now.
    num_occupied: int = 0
    num_waiting: int = 0
    num_lanes: int = 0
    #: Smoothed seconds of a step.
    step_s: float = 0.0
    #: Graphs captured so far; stands still after warm-up unless new sizes come.
    num_builds: int = 0


class Servable(Protocol):
    """A model, as far as the farm hears of it."""

    def card(self) -> ModelCard:
        """Return what a producer needs to know of it."""
        ...


class DrawingEngine(Protocol):
    """See Engine for what each of them promises."""

    @property
    def models(self) -> Mapping[str, Servable]: ...

    @property
    def broken(self) -> Mapping[str, str]: ...

    @property
    def max_images(self) -> int: ...

    @property
    def max_pixels(self) -> Mapping[str, int]: ...

    @property
    def last_beat_s(self) -> float: ...

    @property
    def stats(self) -> EngineStats: ...

    @property
    def memory_bytes(self) -> int: ...

    def glimpses(self, timeout_s: float = 60.0) -> list[Glimpse]: ...

    def submit(
        self,
        request: RenderRequest,
        on_step: OnStep | None = None,
        *,
        init_image: NDArray[np.uint8] | None = None,
        mask_image: NDArray[np.uint8] | None = None,
    ) -> Future[Rendered]: ...

    def drop(self, future: Future[Rendered], reason: str) -> None: ...

    def warm_up(self) -> float: ...

    def start(self) -> None: ...

    def stop(self, timeout_s: float | None = None) -> None: ...


#: Loads the models onto a device and returns an engine that is not started; it is, before its warm-up. Raises
#: ModelNotLoadable.
MakeEngine = Callable[[Config, str, Mapping[str, ModelSpec]], DrawingEngine]
