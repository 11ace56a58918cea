"""Images lie pixel by pixel where a CPU's convolutions gain by it; the pictures are the same within float32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.models import Model
from sigmafarm_worker.models.layout import WIDEST_ON_CPU, suit_layout


class Network(nn.Module):
    """A convolution, and what its configuration says of its width."""

    def __init__(self, *widths: int):
        super().__init__()
        self.convolution = nn.Conv2d(4, 8, 3)
        self.config = SimpleNamespace(**({"block_out_channels": widths} if widths else {}))

    @property
    def is_by_pixel(self) -> bool:
        weight = self.convolution.weight
        return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


@pytest.mark.parametrize(
    ("device", "widths", "is_by_pixel"),
    [
        ("cpu", (64, WIDEST_ON_CPU), True),
        ("cpu", (WIDEST_ON_CPU, WIDEST_ON_CPU + 1, 64), False),
        ("cpu", (), False),
        ("cuda", (64, 1280), True),
        ("mps", (64,), False),
    ],
)
def test_the_layout_goes_by_device_and_width(device: str, widths: tuple[int, ...], is_by_pixel: bool):
    network = Network(*widths)

    suit_layout(network, torch.device(device))

    assert network.is_by_pixel is is_by_pixel


def test_both_layouts_draw_the_same_picture(
    model: Model, draw_alone: Callable[..., Rendered], error: Callable[[np.ndarray, np.ndarray], float]
):
    by_channel = replace(model, unet=copy.deepcopy(model.unet), vae=copy.deepcopy(model.vae))
    for network in (by_channel.unet, by_channel.vae):
        network.to(memory_format=torch.contiguous_format)
    request = RenderRequest(prompt="a cat", num_inference_steps=8, guidance_scale=5, seed=3)

    one, other = draw_alone(request, model), draw_alone(request, by_channel)

    assert model.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert by_channel.unet.conv_in.weight.is_contiguous()
    assert error(one.latents, other.latents) < 1e-5
    assert int(np.abs(one.pixels.astype(int) - other.pixels.astype(int)).max()) <= 1
