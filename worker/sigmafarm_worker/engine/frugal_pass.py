"""A UNet pass that is made in parts once the device had no memory for all its rows at once.

Rows know nothing of each other, so that a pass over 16 rows and two passes over 8 of them give the same: nobody has to
leave the lane, and nothing is drawn anew. Only a single row that does not fit is an error. Memory may be short for a
while only, when somebody else uses the device: so the whole is tried again, after minutes, then after ever longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sigmafarm_common.clock import Clock
from sigmafarm_worker.engine.failures import NoRoomForOneRow, free_cached, is_out_of_memory
from sigmafarm_worker.engine.unet_pass import UnetPass
from sigmafarm_worker.telling import first_line, tell

#: Seconds until a size that was refused its rows is given more at once again: the first time, and the most.
FIRST_LIMIT_S, LONGEST_LIMIT_S = 300.0, 3600.0


@dataclass(frozen=True)
class _Limit:
    """The most rows of a size at once, until when, in monotonic seconds, and for how long that was said."""

    max_rows: int
    until_s: float
    held_s: float


class FrugalPass:
    """Wraps a pass."""

    def __init__(self, inner: UnetPass, clock: Clock):
        self._inner, self._clock = inner, clock
        #: By latent height and width, where there was no memory for all rows.
        self._limits: dict[tuple[int, int], _Limit] = {}
        #: The sizes that a part was made for.
        self._made: set[tuple[int, int]] = set()

    @property
    def num_builds(self) -> int:
        return self._inner.num_builds

    def padded(self, num_rows: int, latent_height: int, latent_width: int) -> int:
        return self._inner.padded(num_rows, latent_height, latent_width)

    def warm_up(self, latent_height: int, latent_width: int, max_rows: int) -> None:
        """Build what passes of this size will need, for as many rows as the device has memory for."""
        size = (latent_height, latent_width)
        while True:
            try:
                self._inner.warm_up(latent_height, latent_width, max_rows)
                self._made.add(size)
                return
            except Exception as error:
                max_rows = self._halved(size, max_rows, error)

    def __call__(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor:
        text = (emb_RTD,) if mask_RT is None else (emb_RTD, mask_RT)
        size = (x_RCHW.shape[2], x_RCHW.shape[3])
        while True:
            num_rows = min(len(x_RCHW), self._most(size, len(x_RCHW)))
            try:
                return self._in_parts(num_rows, x_RCHW, t_R, *text)
            except Exception as error:
                self._halved(size, num_rows, error)

    def _most(self, size: tuple[int, int], num_rows: int) -> int:
        """Return how many rows of a size, of so many, are made at once now."""
        limit = self._limits.get(size)
        return num_rows if limit is None or self._clock.monotonic_s() >= limit.until_s else limit.max_rows

    def _in_parts(self, num_rows: int, *of_rows: Tensor) -> Tensor:
        if num_rows == len(of_rows[0]):
            return self._part(*of_rows)
        parts = zip(*(rows.split(num_rows) for rows in of_rows), strict=True)
        return torch.cat([self._part(*part) for part in parts])

    def _part(self, x_RCHW: Tensor, t_R: Tensor, *text: Tensor) -> Tensor:
        out_RCHW = self._inner(x_RCHW, t_R, *text)
        self._made.add((x_RCHW.shape[2], x_RCHW.shape[3]))
        return out_RCHW

    def _halved(self, size: tuple[int, int], num_rows: int, error: Exception) -> int:
        """Note and return half of the rows that there was no memory for. Raises the error if nothing can be halved, as
        NoRoomForOneRow if not even one row of this size was ever made."""
        if not is_out_of_memory(error):
            raise error
        if num_rows == 1:
            raise error if size in self._made else NoRoomForOneRow(first_line(error)) from error
        # Above the exact buckets, a pass has an even number of rows, and so must what is left over.
        half = next(n for n in range(num_rows // 2, 0, -1) if self._inner.padded(n, *size) == n)
        free_cached(error)
        tell("warning", "engine.out_of_memory", num_rows=num_rows, at_once_from_now=half, error=first_line(error))
        self._limit(size, half)
        return half

    def _limit(self, size: tuple[int, int], max_rows: int) -> None:
        """Hold a size to so many rows: for longer than the last time, if that is over and it did not help."""
        now_s, before = self._clock.monotonic_s(), self._limits.get(size)
        held_s = FIRST_LIMIT_S if before is None else before.held_s
        if before is not None and now_s >= before.until_s:
            held_s = min(2 * held_s, LONGEST_LIMIT_S)
        self._limits[size] = _Limit(max_rows, now_s + held_s, held_s)
