"""The range of a model's finished latents: beyond it a trajectory has diverged, and its picture may be blotches.

Two figures say where the latents are, one how far they are from what the network saw on the way (engine/drift.py): a
picture may be torn while its latents have the usual size.

The figures are the model's own, learnt from its own pictures (`latent_range` in its sigmafarm.json;
worker/demo_model/divergence.py learns those of the bundled model). A model that says none has no range: what is finite
is kept.

Letters: B pictures, C latent channels, H W latent size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

#: The figures, in the order of LatentRange's limits.
FIGURES = ("root mean square", "largest value", "distance from what the network saw on the way")


@dataclass(frozen=True)
class LatentRange:
    """The largest figures that finished latents of good pictures have; infinite where nothing is known."""

    #: Root mean square over all values.
    max_rms: float = math.inf
    #: Largest magnitude of any value.
    max_peak: float = math.inf
    #: How far from what the network saw on the way.
    max_drift: float = math.inf

    @classmethod
    def parse(cls, said: Any) -> Self:
        """Build from a sigmafarm.json's `latent_range`. Raises ValueError with the name, the value and the cure."""
        known = [field.name for field in fields(cls)]
        if not isinstance(said, Mapping):
            raise ValueError(f"latent_range is {said!r}: must be an object with {', '.join(known)}")
        for name, value in said.items():
            if name not in known:
                raise ValueError(f"latent_range has {str(name)[:60]!r}: only {', '.join(known)} are known")
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
                raise ValueError(f"latent_range.{name} is {value!r}: must be a number above 0")
        return cls(**{str(name): float(value) for name, value in said.items()})

    @property
    def judges_drift(self) -> bool:
        """Whether the drift need be measured at all."""
        return math.isfinite(self.max_drift)

    def excess(self, figures: Sequence[float]) -> str:
        """Return which of the figures of one picture (`measure`) is out of range, in words; empty if none is."""
        limits = (self.max_rms, self.max_peak, self.max_drift)
        for figure, limit, name in zip(figures, limits, FIGURES, strict=True):
            # What overflowed on the way to the figure may be NaN.
            if math.isfinite(limit) and not figure <= limit:
                how = f"{figure:.3g}" if math.isfinite(figure) else "beyond float32"
                return f"{how} ({name}), more than {limit:g}"
        return ""


def measure(x_BCHW: Tensor, drift_B: Tensor) -> Tensor:
    """Return the figures of each picture's latents that a LatentRange judges [3, B]: not finite beyond float32."""
    return torch.stack([x_BCHW.square().mean(dim=(1, 2, 3)).sqrt(), x_BCHW.abs().amax(dim=(1, 2, 3)), drift_B])
