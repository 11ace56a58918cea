"""One job in flight, and what makes a lane. Data only."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigmafarm_common.job_warnings import JobWarning, WarningCode
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import OnStep, Rendered

if TYPE_CHECKING:
    from torch import Tensor

    from sigmafarm_common.inside import Inside
    from sigmafarm_worker.engine.given import Given
    from sigmafarm_worker.engine.noise_rows import NoiseRows
    from sigmafarm_worker.models.reading import Tokens
    from sigmafarm_worker.sampling.table import Table


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
    table: Table
    #: [N calls], whether the unconditional row is drawn.
    guided: NDArray[np.bool_]
    #: float32 [4, H/8, W/8] on the CPU, from the job's own generator, unscaled.
    noise: Tensor
    #: Where the noise of later calls comes from.
    noise_rows: NoiseRows
    #: What its picture will say of how it was drawn.
    inside: Inside
    #: The picture that it starts from and its mask; None for a job that starts from noise.
    given: Given | None = None
    #: What is to be known of its picture, as far as is known by now.
    warnings: tuple[JobWarning, ...] = ()
    #: What its model's LatentRange judges of its finished latents.
    figures: tuple[float, ...] = ()
    #: Monotonic seconds at which it joined its lane.
    joined_s: float = 0.0
    #: The lane's count of passes when it joined, and when it will be finished.
    joined_at: int = 0
    ends_at: int = 0

    def warn(self, code: WarningCode, text: str) -> None:
        """Add a warning; a newer one of a code replaces the older."""
        self.warnings = (*(each for each in self.warnings if each.code != code), JobWarning(code=code, text=text))

    def warning(self, code: WarningCode) -> str:
        """Return what its warning of a code says, empty where it has none."""
        return next((each.text for each in self.warnings if each.code == code), "")

    @property
    def negative_tokens(self) -> int:
        """Tokens of its negative prompt, 0 where it has none."""
        return self.negative.num_tokens if self.negative else 0

    @property
    def most_rows(self) -> int:
        """Rows of a pass that it takes, those of its guided calls."""
        return 2 if self.guided.any() else 1

    def is_guided_at(self, num_passes: int) -> bool:
        """Whether it has two rows in the pass that follows so many of its lane's."""
        return bool(self.guided[num_passes - self.joined_at])

    def draws_at(self, num_passes: int) -> bool:
        """Whether it draws noise in that pass."""
        return bool(self.table.draws[num_passes - self.joined_at])

    def next_change(self, num_passes: int) -> int:
        """Return the lane's count of passes, after so many, at which its number of rows changes; its end, if never."""
        ahead = self.guided[num_passes - self.joined_at :]
        changes = np.flatnonzero(ahead != ahead[:1])
        return num_passes + int(changes[0]) if len(changes) else self.ends_at
