"""Give the VAE's latents zero mean and unit variance by folding the change into its 1x1 convolutions.

Exact: what the decoder sees does not change. So the scaling factor stays Stable Diffusion's own.
"""

from __future__ import annotations

import math

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from demo_model.networks import SCALING_FACTOR

#: Standard deviation that the encoder reports for its (scaled) latents.
POSTERIOR_STD = 0.05


def whiten(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Fold mean and covariance of the latents of these pictures [B, 3, H, W] into the VAE; call without gradients."""
    z = torch.cat([vae.quant_conv(vae.encoder(part))[:, :4] for part in pictures.split(16)])  # [B, 4, h, w]
    samples = z.permute(1, 0, 2, 3).flatten(1).double()  # [4, B h w]
    mean = samples.mean(1)
    eigenvalues, eigenvectors = torch.linalg.eigh(samples.cov())
    forward = eigenvectors @ (eigenvalues.rsqrt()[:, None] * eigenvectors.T) / SCALING_FACTOR  # [4, 4]
    _fold_into_output(vae, forward, mean)
    _fold_into_input(vae, forward.inverse(), mean)


def _fold_into_output(vae: AutoencoderKL, forward: Tensor, mean: Tensor) -> None:
    """Make the encoder give forward @ (z - mean), and a constant small variance."""
    conv = vae.quant_conv
    weight, bias = conv.weight[:4, :, 0, 0].double(), conv.bias[:4].double()
    conv.weight[:4, :, 0, 0] = (forward @ weight).float()
    conv.bias[:4] = (forward @ (bias - mean)).float()
    conv.weight[4:] = 0
    conv.bias[4:] = 2 * math.log(POSTERIOR_STD / SCALING_FACTOR)


def _fold_into_input(vae: AutoencoderKL, inverse: Tensor, mean: Tensor) -> None:
    """Make the decoder undo it."""
    conv = vae.post_quant_conv
    weight, bias = conv.weight[:, :, 0, 0].double(), conv.bias.double()
    conv.weight[:, :, 0, 0] = (weight @ inverse).float()
    conv.bias[:] = (bias + weight @ mean).float()
