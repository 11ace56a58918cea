"""The picture that image to image begins with in the examples: a dancer of flat colours, drawn here, nobody's photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SKY, FLOOR, SKIN, HAIR, DRESS, SASH = "#9cc7e8", "#c9a36b", "#8d5a3b", "#22181c", "#c8283c", "#f2b632"


def draw_dancer(side_px: int) -> Image:
    """Return a dancer with raised arms, square, RGB."""
    from PIL import Image, ImageDraw  # takes a while: only when asked

    image = Image.new("RGB", (side_px, side_px), SKY)
    draw = ImageDraw.Draw(image)
    n = side_px / 100  # what follows is in hundredths of the side
    draw.rectangle((0, 82 * n, side_px, side_px), FLOOR)
    for arm in ((47, 40, 30, 18), (53, 40, 72, 22)):
        draw.line([part * n for part in arm], SKIN, round(5 * n))
    for leg in ((46, 70, 42, 90), (55, 70, 64, 88)):
        draw.line([part * n for part in leg], SKIN, round(5 * n))
    draw.polygon([part * n for part in (46, 36, 54, 36, 76, 74, 60, 78, 44, 76, 24, 70)], DRESS)
    draw.polygon([part * n for part in (44, 49, 57, 49, 59, 54, 42, 54)], SASH)
    draw.ellipse([part * n for part in (42, 16, 58, 34)], HAIR)
    draw.ellipse([part * n for part in (44, 20, 56, 36)], SKIN)
    return image
