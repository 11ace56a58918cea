"""Whether what a network answered is finite."""

from __future__ import annotations

from torch import Tensor


def is_finite(x: Tensor) -> Tensor:
    """Return of each [B, ...] whether all its values are finite, bool [B], on its device."""
    return x.isfinite().flatten(1).all(dim=1)
