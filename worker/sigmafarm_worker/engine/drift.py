"""How far the finished latents are from what the network saw on the way.

Late in a run, where little noise is left, the picture that the network sees in the latents should stand still: it is
what comes out. A trajectory that left the range of pictures keeps pulling the network elsewhere, also where its latents
have the usual size in the end: torn shapes, mottled grounds. The drift is

    sqrt(sum_n w_n mean (x0_n - x)^2 / sum_n w_n)      n: the calls at sigma from 1.5 down to 0.1 (table.LATE)

with x the finished latents, w_n the way that call n takes in log sigma, and x0_n the picture seen then by the prompt
alone: guidance pushes x0 far off in good runs too. The mean is over what is drawn: inside the mask, if there is one. Of
all x0_n, only their mean and the squares around it are kept (Welford 1962), so that a long run takes no more memory
than a short one, and nothing cancels.

Letters: S slots, B of them, C channels, H W latent size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Drift:
    """What is known of a lane's slots so far. No transfer between host and device."""

    def __init__(self, like_SCHW: Tensor):
        #: The weighted mean of x0, the weighted sum of squares around it (their mean over C, H, W), the sum of weights.
        self._mean_SCHW = torch.zeros_like(like_SCHW)
        self._square_S, self._weight_S = like_SCHW.new_zeros(2, len(like_SCHW)).unbind()
        #: What each position counts: 1 on average, nothing outside a mask.
        self._area_S1HW = torch.ones_like(like_SCHW[:, :1])

    def begin(self, i: int, mask_1HW: Tensor | None = None) -> None:
        """Forget the last owner of a place. Of a picture that is given, only what its mask draws anew is judged: the
        network need not take the rest for a picture of its own."""
        for tensor in (self._mean_SCHW, self._square_S, self._weight_S):
            tensor[i] = 0
        self._area_S1HW[i] = 1 if mask_1HW is None else (mask_1HW / mask_1HW.mean()).nan_to_num(0.0)

    def move(self, source: int, target: int) -> None:
        """Let the slot at one place stand at another."""
        for tensor in (self._mean_SCHW, self._square_S, self._weight_S, self._area_S1HW):
            tensor[target] = tensor[source]

    def add(self, x_SCHW: Tensor, cond_SCHW: Tensor, seen_S3: Tensor) -> None:
        """Take a call in: the latents before it moves them, the network's answer for the prompt, the table's SEEN."""
        S = len(x_SCHW)
        assert cond_SCHW.shape == x_SCHW.shape
        d_S, e_S, w_S = seen_S3.unbind(1)
        mean_SCHW, before_S = self._mean_SCHW[:S], self._weight_S[:S]
        away_SCHW = d_S[:, None, None, None] * x_SCHW + e_S[:, None, None, None] * cond_SCHW - mean_SCHW
        # What a call counts of all so far; nothing, where none has counted.
        share_S = (w_S / (before_S + w_S)).nan_to_num(0.0)
        # A call that does not count must not bring in what is not finite: 0 times that is no 0.
        away_SCHW = torch.where((w_S > 0)[:, None, None, None], away_SCHW, 0)
        mean_SCHW += share_S[:, None, None, None] * away_SCHW
        self._square_S[:S] += share_S * before_S * (self._area_S1HW[:S] * away_SCHW.square()).mean(dim=(1, 2, 3))
        before_S += w_S

    def of(self, places: Sequence[int], x_BCHW: Tensor) -> Tensor:
        """Return the drift [B] of the slots at some places, whose finished latents are x: 0 where no call counted, as
        in a run that starts midway below LATE; not finite where that is beyond float32."""
        at_B = torch.tensor(places, device=x_BCHW.device)
        weight_B = self._weight_S[at_B]
        around_B = self._square_S[at_B] / weight_B
        away_B = (self._area_S1HW[at_B] * (self._mean_SCHW[at_B] - x_BCHW).square()).mean(dim=(1, 2, 3))
        return torch.where(weight_B > 0, around_B + away_B, 0).sqrt()
