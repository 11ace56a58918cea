"""Divisions by 1.0 are left out of a network: what diffusers' blocks do to every sum and every attention's answer,
though the factor is 1.0 in all of Stable Diffusion. On a GPU each reads and writes the whole tensor once more; the
numbers are the same to the bit."""

from __future__ import annotations

from torch import Tensor, nn

#: What the blocks of diffusers call the factor: ResnetBlock2D, Attention.
FACTORS = ("output_scale_factor", "rescale_output_factor")


class One:
    """What a tensor may be divided by, and nothing happens."""

    def __rtruediv__(self, x: Tensor) -> Tensor:
        return x

    def __repr__(self) -> str:
        return "1.0"


def leave_out_divisions(network: nn.Module) -> int:
    """Let a network divide nothing by 1.0. Return in how many of its modules it did."""
    num = 0
    for module in network.modules():
        for name in FACTORS:
            if getattr(module, name, None) == 1.0:
                setattr(module, name, One())
                num += 1
    return num


def put_back_divisions(network: nn.Module) -> None:
    """Let it divide by 1.0 again: torch.compile follows numbers alone, and fuses the division with what stands beside
    it."""
    for module in network.modules():
        for name in FACTORS:
            if isinstance(getattr(module, name, None), One):
                setattr(module, name, 1.0)
