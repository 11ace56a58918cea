"""Networks that cost next to nothing, for tests of how the engine conducts itself: each row's answer hangs on all that
the row is given, on where in the latents it stands, and on nothing of its neighbours.

What is held against diffusers' pipelines takes the networks of a checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sigmafarm_worker.models import Model


def lighten(model: Model) -> Model:
    """Return the model with a light UNet and a light VAE in place of its own."""
    return replace(model, unet=LightUnet(model.unet.config), vae=LightVae(model.vae.config, model.vae_factor))


class LightUnet(torch.nn.Module):
    """Answers most of the latents, bent by their neighbours, the time and the text."""

    def __init__(self, config: Any):
        super().__init__()
        self.config = config

    def forward(
        self,
        x_RCHW: Tensor,
        t: Tensor,
        *,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        R, _, H, W = x_RCHW.shape
        text_RT = encoder_hidden_states.float().mean(-1) + encoder_hidden_states[..., 0].float()
        has_RT = torch.ones_like(text_RT) if encoder_attention_mask is None else encoder_attention_mask.float()
        places_T = (torch.arange(text_RT.shape[1]) / 20).cos()
        text_R = (text_RT * places_T * has_RT).sum(-1) / has_RT.sum(-1)
        wave_HW = torch.linspace(-1.5, 1.5, H * W).reshape(H, W)
        time_R = t.float().expand(R) / 500
        bent_RHW = (time_R[:, None, None] + wave_HW).sin() + (4 * text_R[:, None, None] * (1 + wave_HW)).sin()
        near_RCHW = x_RCHW.roll(1, 2) - x_RCHW.roll(1, 3)
        out_RCHW = 0.8 * x_RCHW + 0.3 * (near_RCHW + bent_RHW[:, None]).tanh()
        return (out_RCHW[:, :4].to(x_RCHW.dtype),)


class Encoded(NamedTuple):
    mean: Tensor
    std: Tensor


class LightVae(torch.nn.Module):
    """Makes a square of each latent, and the latent of each square."""

    def __init__(self, config: Any, factor: int):
        super().__init__()
        self.config, self.factor = config, factor

    def decode(self, x_BCHW: Tensor, *, return_dict: bool = False) -> tuple[Tensor]:
        return (F.interpolate(x_BCHW[:, :3] + 0.3 * x_BCHW[:, 3:], scale_factor=self.factor).tanh(),)

    def encode(self, x_B3HW: Tensor, *, return_dict: bool = False) -> tuple[Encoded]:
        x_B3hw = F.avg_pool2d(x_B3HW, self.factor)
        mean = torch.cat([x_B3hw, x_B3hw.mean(1, keepdim=True)], 1)
        return (Encoded(mean, torch.full_like(mean, 0.1)),)
