"""Small tensors of the host go to the device together: each copy of its own would wait for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return host tensors of one dtype on a device: by one copy from pinned memory, without a wait of the host."""
    if device.type == "cpu":
        return list(tensors)
    flat = packed(tensors)
    if device.type == "cuda":
        flat = flat.pin_memory()
    return unpacked(flat.to(device, non_blocking=True), tensors)


def packed(tensors: Sequence[Tensor]) -> Tensor:
    """Return the numbers of some tensors in a row."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unpacked(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors out of their numbers in a row, in the shapes of others."""
    parts = flat.split([tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
