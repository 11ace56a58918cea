"""One job in flight: what the engine was asked for, and what it hands back. Data only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigmafarm_common.settings import RenderRequest

if TYPE_CHECKING:
    from torch import Tensor

    from sigmafarm_worker.lms import Schedule
    from sigmafarm_worker.prompts import Tokens

#: Called as on_step(steps done, num_steps) in the engine's thread: must be cheap and must not block.
OnStep = Callable[[int, int], None]


class LaneKey(NamedTuple):
    """What slots must have in common to share a forward pass."""

    model: str
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Rendered:
    """A finished picture, on the host."""

    #: uint8 [H, W, 3], RGB.
    pixels: NDArray[np.uint8]
    #: float32 [4, H/8, W/8], before the VAE.
    latents: NDArray[np.float32]
    #: The request with every setting filled, the seed among them: drawing it again gives the same picture.
    request: RenderRequest
    #: Seconds from joining a pass to the finished picture.
    seconds: float
    #: Tokens of the prompt and of the negative prompt that did not fit and were not drawn.
    num_cut_tokens: int = 0
    #: What the model that drew it is made of; see ModelCard.
    fingerprint: str = ""

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
    #: Steps done.
    step: int
    #: uint8 [H/8, W/8, 3], RGB.
    pixels: NDArray[np.uint8]


@dataclass(eq=False)
class Slot:
    """One job in an engine, waiting or in a lane. Two slots are equal only if they are the same."""

    key: LaneKey
    #: Every setting is filled.
    request: RenderRequest
    future: Future[Rendered]
    on_step: OnStep | None
    prompt: Tokens
    #: None for an unguided job: it costs one row.
    negative: Tokens | None
    schedule: Schedule
    #: float32 [4, H/8, W/8] on the CPU, from the job's own generator, unscaled.
    noise: Tensor
    #: Monotonic seconds at which it joined its lane.
    joined_s: float = 0.0
    #: The lane's count of passes when it joined, and when it will be finished.
    joined_at: int = 0
    ends_at: int = 0

    @property
    def num_rows(self) -> int:
        return 1 if self.negative is None else 2

    @property
    def num_cut_tokens(self) -> int:
        return self.prompt.num_cut + (self.negative.num_cut if self.negative else 0)
