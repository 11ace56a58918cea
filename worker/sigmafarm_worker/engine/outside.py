"""What masks leave as it is: after each call, everything outside of them is what was given, with the noise of the next
call in it.

So diffusers inpaints with UNets that take four channels. All slots of a lane are blended at once: a slot without a mask
has one of ones, and keeps its latents to the bit. A lane that holds no mask has none of this.

Letters: S slots, C channels, H W latent size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sigmafarm_worker.engine.slot import Slot


class Outside:
    """The pictures, first noises and masks of a lane's slots."""

    def __init__(self, like_SCHW: Tensor):
        self._picture_SCHW = torch.zeros_like(like_SCHW)
        self._noise_SCHW = torch.zeros_like(like_SCHW)
        #: 1 where is drawn anew.
        self._mask_S1HW = torch.ones_like(like_SCHW[:, :1])

    def write(self, i: int, slot: Slot) -> None:
        """Take what a slot at a place needs; whoever has no mask needs no picture either."""
        given = slot.given
        if given is None or not given.is_put_back:
            self._picture_SCHW[i], self._noise_SCHW[i], self._mask_S1HW[i] = 0, 0, 1
            return
        assert given.picture_latents is not None
        assert given.mask is not None
        self._picture_SCHW[i] = given.picture_latents
        self._noise_SCHW[i] = slot.noise.to(self._noise_SCHW.device)
        self._mask_S1HW[i] = given.mask.to(self._mask_S1HW.device)

    def move(self, source: int, target: int) -> None:
        """Let the slot at one place stand at another."""
        for tensor in (self._picture_SCHW, self._noise_SCHW, self._mask_S1HW):
            tensor[target] = tensor[source]

    def put_back(self, x_SCHW: Tensor, pq_S2: Tensor) -> None:
        """Make x what was given, p picture + q noise, outside the masks, in place."""
        S = len(x_SCHW)
        p_S, q_S = pq_S2[..., None, None, None].unbind(1)
        outside_SCHW = p_S * self._picture_SCHW[:S] + q_S * self._noise_SCHW[:S]
        mask_S1HW = self._mask_S1HW[:S]
        x_SCHW.mul_(mask_S1HW).add_((1 - mask_S1HW) * outside_SCHW)
