"""The eight shapes, as outlines around the origin with a radius of about 1 (x right, y down).

The drawing code and the checker share these outlines: what is asked for is exactly what is looked for.
"""

from __future__ import annotations

import math

from PIL import Image, ImageDraw

Outline = list[tuple[float, float]]


def _circle(radius: float, num_points: int = 48) -> Outline:
    angles = [2 * math.pi * k / num_points for k in range(num_points)]
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def _star() -> Outline:
    radii = [1.12, 0.47]
    angles = [math.pi * (k / 5 - 0.5) for k in range(10)]
    return [(radii[k % 2] * math.cos(a), 0.08 + radii[k % 2] * math.sin(a)) for k, a in enumerate(angles)]


def _heart() -> Outline:
    angles = [2 * math.pi * k / 60 for k in range(60)]
    x = [math.sin(a) ** 3 for a in angles]
    y = [-(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 15.5 for a in angles]
    return [(1.03 * px, 1.03 * (py - 0.13)) for px, py in zip(x, y, strict=True)]


def _cross() -> Outline:
    arm, tip = 0.34, 1.0
    quarter = [(arm, -arm), (tip, -arm), (tip, arm), (arm, arm)]
    corners = []
    for turn in range(4):
        cosine, sine = round(math.cos(turn * math.pi / 2)), round(math.sin(turn * math.pi / 2))
        corners += [(cosine * x - sine * y, sine * x + cosine * y) for x, y in quarter[1:]]
    return corners


#: Shape word -> outlines; the first is filled, a second one is cut out of it.
SHAPES: dict[str, list[Outline]] = {
    "circle": [_circle(1.0)],
    "square": [[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]],
    "triangle": [[(0.0, -1.0), (1.08, 0.85), (-1.08, 0.85)]],
    "star": [_star()],
    "heart": [_heart()],
    "diamond": [[(0.0, -1.16), (0.82, 0.0), (0.0, 1.16), (-0.82, 0.0)]],
    "cross": [_cross()],
    "ring": [_circle(1.03), _circle(0.55)],
}


def shape_mask(shape: str, x: float, y: float, radius: float, width: int, height: int) -> Image.Image:
    """Draw one shape, white on black, in an "L" image; centre and radius are in pixels."""
    mask = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(mask)
    for outline, fill in zip(SHAPES[shape], (255, 0), strict=False):
        pen.polygon([(x + radius * px, y + radius * py) for px, py in outline], fill=fill)
    return mask
