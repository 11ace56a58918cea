"""Masks: how they are softened, cut out and made coarse, and how the drawn part comes back into its picture.

Arrays in, arrays out. Pictures are uint8 [height, width, 3], masks uint8 [height, width] with 255 where is drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.picture_settings import DEFAULT_PADDING_PX, InpaintingFill
from sigmafarm_common.settings import RenderRequest

Pixels = NDArray[np.uint8]
#: Blurs by which colours spread into a hole, the widest first, and how often each is laid over: AUTOMATIC1111's.
_SPREADING = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))


class Box(NamedTuple):
    """A part of a picture in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, eq=False)
class Pasting:
    """How what was drawn comes back into the picture that was given."""

    #: The picture, its mask as softened, and the part that was drawn; None: all of it.
    original: Pixels
    mask: Pixels
    box: Box | None

    def paste(self, drawn: Pixels) -> Pixels:
        """Return the picture: what was drawn where the mask is 255, to the bit what was given where it is 0, and
        between them in the mask's proportion."""
        over = drawn
        if self.box is not None:
            left, top, right, bottom = self.box
            over = self.original.copy()
            over[top:bottom, left:right] = _resized(drawn, right - left, bottom - top)
        weight = self.mask[..., None].astype(np.uint16)
        return ((over * weight + self.original * (255 - weight) + 127) // 255).astype(np.uint8)


def prepare(request: RenderRequest, picture: Pixels, mask: Pixels) -> tuple[Pixels, Pixels, Pasting]:
    """Return the picture and the mask as they are drawn from, and the way back. Raises InvalidRequest."""
    height, width = mask.shape
    mask = softened(255 - mask if request.mask_invert else mask, request.mask_blur or 0)
    padding = DEFAULT_PADDING_PX if request.masked_padding is None else request.masked_padding
    box = box_around(mask, padding) if request.masked_area_only else None
    pasting = Pasting(picture, mask, box)
    if box is not None:
        left, top, right, bottom = box
        picture = _resized(picture[top:bottom, left:right], width, height)
        mask = _resized(mask[top:bottom, left:right], width, height)
    if request.inpainting_fill == InpaintingFill.FILL:
        picture = with_colours_spread(picture, mask)
    return picture, mask, pasting


def softened(mask: Pixels, blur_px: float) -> Pixels:
    """Return a mask with soft edges (Gaussian, of that standard deviation)."""
    return np.array(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(blur_px))) if blur_px else mask


def box_around(mask: Pixels, padding_px: int) -> Box:
    """Return the part of a picture that holds its mask and a rim, widened to the picture's own shape. Raises
    InvalidRequest for a mask without a pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        said = "mask_image leaves nothing to draw anew: paint it white (255) where that shall be, or set mask_invert"
        raise InvalidRequest([FieldError("mask_image", said)])
    height, width = mask.shape
    top, bottom = max(int(rows[0]) - padding_px, 0), min(int(rows[-1]) + 1 + padding_px, height)
    left, right = max(int(columns[0]) - padding_px, 0), min(int(columns[-1]) + 1 + padding_px, width)
    wide, high = right - left, bottom - top
    if wide * height > width * high:
        top, bottom = _widened(top, bottom, wide * height // width, height)
    else:
        left, right = _widened(left, right, high * width // height, width)
    return Box(left, top, right, bottom)


def _widened(low: int, high: int, wanted: int, limit: int) -> tuple[int, int]:
    """Return a range of the wanted length around one, shifted to lie in 0 to `limit`."""
    low -= (wanted - (high - low)) // 2
    low = max(0, min(low, limit - wanted))
    return low, min(low + wanted, limit)


def with_colours_spread(picture: Pixels, mask: Pixels) -> Pixels:
    """Return a picture whose masked part holds the colours around it, ever finer towards its edge."""
    seen = Image.fromarray(np.dstack([picture, 255 - mask]), "RGBA").convert("RGBa")
    canvas = Image.new("RGBA", seen.size)
    for radius, times in _SPREADING:
        blurred = seen.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            canvas.alpha_composite(blurred)
    return np.array(canvas.convert("RGB"))


def coarse(hole: NDArray[np.bool_], factor: int) -> Tensor:
    """Return a mask of latents float32 [1, H, W], 1 where is drawn anew: the upper left of each `factor` pixels, as
    diffusers takes it."""
    return torch.from_numpy(hole[::factor, ::factor].astype(np.float32))[None]


def _resized(array: Pixels, width: int, height: int) -> Pixels:
    return np.array(Image.fromarray(array).resize((width, height), Image.Resampling.LANCZOS))
