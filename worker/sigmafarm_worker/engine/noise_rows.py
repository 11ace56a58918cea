"""The noise of a job as a row of the call that it belongs to: drawn on the CPU, in float32, from the job's generator.

The reference programs draw a list of prompts from one generator, torch.randn(number of prompts, 4, H, W): the noise of
a picture depends on its place there. A job alone is row 0 of a call of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

#: Rows drawn at once where others' are thrown away. torch fills a tensor by blocks of 16 numbers: the rows of a call
#: come out the same in parts of four, whatever the size of a row.
_ROWS_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class NoiseRows:
    """Draws the noise of one job."""

    generator: Generator
    #: [C, H, W] of a row.
    shape: tuple[int, int, int]
    #: Its place in the call, from 0, and how many that draws.
    index: int = 0
    count: int = 1

    def draw_shared(self) -> Tensor:
        """Return noise [C, H, W] that the whole call shares: of the one picture from which all of it starts."""
        return torch.randn(1, *self.shape, generator=self.generator)[0]

    def draw(self) -> Tensor:
        """Return this job's row [C, H, W] of torch.randn(count, C, H, W), to the bit, and leave the generator where
        that leaves it. Costs as much as all rows."""
        found = torch.empty(0)
        for first in range(0, self.count, _ROWS_AT_ONCE):
            rows = torch.randn(min(_ROWS_AT_ONCE, self.count - first), *self.shape, generator=self.generator)
            if first <= self.index < first + len(rows):
                found = rows[self.index - first].clone()
        return found
