"""In which order a network keeps the numbers of an image: channel by channel, or pixel by pixel (channels_last)."""

from __future__ import annotations

from typing import Any

import torch

#: Channels of the widest block up to which a CPU's convolutions are faster pixel by pixel: measured on networks of 120
#: to 1280, with one thread and two (worker/README.md). A rule, and no measurement at each start, so that all workers
#: draw the same bits.
WIDEST_ON_CPU = 320


def suit_layout(network: Any, device: torch.device) -> None:
    """Have a resident network keep its images in the order that suits the device and its width; one without images is
    left as it is."""
    widths = getattr(network.config, "block_out_channels", None)
    if not widths:
        return
    # A GPU's fp16 convolutions run on channels-last data; the other layout costs a transposition each.
    if device.type == "cuda" or (device.type == "cpu" and max(widths) <= WIDEST_ON_CPU):
        network.to(memory_format=torch.channels_last)
