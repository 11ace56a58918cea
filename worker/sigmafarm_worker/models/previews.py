"""What a picture will look like, from its latents, without the VAE: one linear map from four channels to RGB.

A checkpoint may bring a map of its own (`preview` in sigmafarm.json: `latent_rgb_factors` [4, 3], `latent_rgb_bias`
[3]), as the bundled model does, whose latents are not those of Stable Diffusion. Every other takes the published map of
Stable Diffusion 1.x.

Letters: C latent channels, H W latent size, 3 red, green, blue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sigmafarm_common.errors import ModelNotLoadable

#: Rows L1 to L4, columns red, green, blue, to pixels from -1 to 1; fitted to Stable Diffusion 1.4 by keturn
#: (discuss.huggingface.co, "Decoding latents to RGB without upscaling", 2022).
SD1_FACTORS = ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473))


@dataclass(frozen=True, eq=False)
class PreviewMap:
    """A linear map from latents (scaled as the UNet sees them) to RGB from -1 to 1."""

    #: float32 [4, 3].
    factors: NDArray[np.float32]
    #: float32 [3].
    bias: NDArray[np.float32]

    @classmethod
    def parse(cls, preview: Mapping[str, Any]) -> Self:
        """Return the map that a checkpoint brings, or Stable Diffusion 1.x's where it brings none.

        Raises ModelNotLoadable for one that is no 4 x 3 map of finite numbers.
        """
        try:
            factors = np.asarray(preview.get("latent_rgb_factors", SD1_FACTORS), np.float32)
            bias = np.asarray(preview.get("latent_rgb_bias", (0, 0, 0)), np.float32)
        except (TypeError, ValueError) as error:
            raise ModelNotLoadable(f"preview in sigmafarm.json is no table of numbers: {error}") from None
        if factors.shape != (4, 3) or bias.shape != (3,) or not np.isfinite([*factors.flat, *bias]).all():
            raise ModelNotLoadable(
                f"preview in sigmafarm.json has factors {list(factors.shape)} and bias {list(bias.shape)}: "
                "must be finite numbers [4, 3] and [3]"
            )
        return cls(factors, bias)

    def pixels(self, x_CHW: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the preview of latents [4, H, W], uint8 [H, W, 3]: an eighth of the picture's size along a side. Where
        they are not finite, or beyond float32 on the way, it is grey: a look must not fail."""
        assert x_CHW.shape[0] == len(self.factors)
        with np.errstate(all="ignore"):
            rgb_HW3 = np.einsum("chw,cr->hwr", x_CHW, self.factors) + self.bias
        rgb_HW3 = np.nan_to_num(rgb_HW3, nan=0.0, posinf=0.0, neginf=0.0)
        return ((rgb_HW3 / 2 + 0.5).clip(0, 1) * 255).round().astype(np.uint8)
