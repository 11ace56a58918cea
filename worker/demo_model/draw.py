"""Draw a picture: at three times its size with Pillow, then averaged down, so that edges are smooth."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageDraw

from demo_model.landscapes import LandscapePainter
from demo_model.palette import shade
from demo_model.picture import Background, Pattern, Picture
from demo_model.shapes import shape_mask

#: Drawn pixels per side of a final pixel.
OVERSAMPLING = 3
#: Bands or squares of a pattern along the shorter side.
NUM_STRIPES = 8
NUM_CHECKERS = 6


def draw(picture: Picture, width: int, height: int, rng: random.Random) -> np.ndarray:
    """Give the picture as uint8 [height, width, 3]; rng only jitters the shades."""
    size = (width * OVERSAMPLING, height * OVERSAMPLING)
    canvas = Image.new("RGB", size)
    pen = ImageDraw.Draw(canvas)
    if picture.landscape:
        LandscapePainter(pen, *size, picture.landscape.time, rng).paint(picture.landscape)
    else:
        _fill(canvas, pen, picture.background, rng)
    shades = {thing.color: shade(thing.color, rng) for thing in picture.things}
    # A thing that contains another is listed after it and must be drawn first.
    for thing in reversed(picture.things):
        x, y, radius = thing.x * size[0], thing.y * size[1], thing.radius * min(size)
        canvas.paste(shades[thing.color], mask=shape_mask(thing.shape, x, y, radius, *size))
    return np.asarray(canvas.reduce(OVERSAMPLING))


def _fill(canvas: Image.Image, pen: ImageDraw.ImageDraw, background: Background, rng: random.Random) -> None:
    width, height = canvas.size
    colors = [shade(color, rng) for color in background.colors]
    if background.pattern is Pattern.PLAIN:
        canvas.paste(colors[0], (0, 0, width, height))
    elif background.pattern is Pattern.STRIPES:
        band = min(width, height) / NUM_STRIPES
        for k in range(int(np.ceil(width / band))):
            pen.rectangle((k * band, 0, (k + 1) * band, height), fill=colors[k % 2])
    elif background.pattern is Pattern.CHECKERS:
        _checkers(pen, width, height, colors)
    else:
        ramp = np.linspace(colors[0], colors[1], height).astype(np.uint8)
        canvas.paste(Image.fromarray(ramp[:, None].repeat(width, axis=1)))


def _checkers(pen: ImageDraw.ImageDraw, width: int, height: int, colors: list[tuple[int, int, int]]) -> None:
    side = min(width, height) / NUM_CHECKERS
    for row in range(int(np.ceil(height / side))):
        for column in range(int(np.ceil(width / side))):
            corner = (column * side, row * side, (column + 1) * side, (row + 1) * side)
            pen.rectangle(corner, fill=colors[(row + column) % 2])
