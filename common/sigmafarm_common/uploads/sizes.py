"""Of what size a job is that draws from a picture, where nobody says it. Pure numbers."""

from __future__ import annotations

from math import floor, sqrt
from typing import NamedTuple

from sigmafarm_common.picture_inputs import Fit
from sigmafarm_common.settings import MAX_SIDE_PX, MIN_SIDE_PX, SIDE_STEP_PX


class Size(NamedTuple):
    """In pixels."""

    width: int
    height: int


def size_for(
    picture: Size, native: Size, *, width: int | None = None, height: int | None = None, fit: Fit | None = None
) -> Size:
    """Return the size of a job by the picture that it begins with; what is said stays.

    One side alone takes the other with it, in the picture's shape. Where none is said it is the picture's own size,
    made smaller in its shape where it has more pixels than the model's native size, never larger. Each side that is
    not said is the nearest that a job may have. With Fit.STRICT they are the picture's sides, whatever those are.
    """
    if fit is Fit.STRICT:
        return Size(width or picture.width, height or picture.height)
    if width and height:
        return Size(width, height)
    if width:
        return Size(width, _nearest(width * picture.height / picture.width))
    if height:
        return Size(_nearest(height * picture.width / picture.height), height)
    scale = min(1.0, sqrt(native.width * native.height / (picture.width * picture.height)))
    return Size(_nearest(picture.width * scale), _nearest(picture.height * scale))


def _nearest(side: float) -> int:
    step = SIDE_STEP_PX * floor(side / SIDE_STEP_PX + 0.5)
    return min(max(step, MIN_SIDE_PX), MAX_SIDE_PX)
