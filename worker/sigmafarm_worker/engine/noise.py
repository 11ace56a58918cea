"""The noise that some samplers add at each call: drawn on the host, for each job from its own generator.

So a seed gives the same picture on any device, alone or in company: a job draws its first noise and then that of its
calls, in their order, as diffusers does with the same generator.

Letters: S slots, C channels, H W latent size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sigmafarm_worker.engine.slot import Slot


class Noise:
    """The noise of a lane's slots. Slots that draw none in a pass keep what stands in their place: it counts nothing
    there, for their rows have no factor for it."""

    def __init__(self) -> None:
        #: Two in turn [S, C, H, W]: while the device may still read one, the other is written. The engine's host is at
        #: most one pass ahead of its device (Pace).
        self._on_host: list[Tensor] = []

    def draw(self, slots: Sequence[Slot], num_passes: int, like_SCHW: Tensor) -> Tensor:
        """Return the slots' noise [S, C, H, W] of the pass that follows so many, on the device of `like`."""
        noise_SCHW = self._next(like_SCHW)
        for slot, noise_CHW in zip(slots, noise_SCHW, strict=True):
            if slot.draws_at(num_passes):
                rows = slot.noise_rows
                if rows.count == 1:
                    noise_CHW.normal_(generator=rows.generator)
                else:
                    noise_CHW.copy_(rows.draw())
        return noise_SCHW.to(like_SCHW.device, non_blocking=True)

    def _next(self, like_SCHW: Tensor) -> Tensor:
        if not self._on_host or len(self._on_host[0]) < len(like_SCHW):
            is_pinned = like_SCHW.device.type == "cuda"
            self._on_host = [torch.zeros(like_SCHW.shape, pin_memory=is_pinned) for _ in range(2)]
        self._on_host.reverse()
        return self._on_host[0][: len(like_SCHW)]
