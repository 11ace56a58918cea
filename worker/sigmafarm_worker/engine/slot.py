"""One job in flight, and what makes a lane. Data only."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import OnStep, Rendered

if TYPE_CHECKING:
    from torch import Tensor

    from sigmafarm_worker.models.prompts import Tokens
    from sigmafarm_worker.sampling.lms import Schedule


class LaneKey(NamedTuple):
    """What slots must have in common to share a forward pass."""

    model: str
    height: int
    width: int


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
