"""Small scenes: a sky, a ground, and at most one or two things that stand in it.

Layouts are fixed but for a little jitter; time of day, ground and item change, and the caption says all three.
"""

from __future__ import annotations

import random

from PIL import ImageDraw

from demo_model.palette import RGB
from demo_model.picture import Landscape

#: Ground -> items that may stand there ("" for nothing).
ITEMS: dict[str, list[str]] = {
    "field": ["house", "tree", "house and tree", ""],
    "hills": ["house", "tree", ""],
    "sea": ["boat", "boat", ""],
    "desert": ["cactus", "cactus", ""],
    "mountains": ["house", "tree", ""],
    "snow": ["house", "tree"],
    "city": [""],
}
TIMES = ["day", "sunset", "night"]

#: Time -> sky at the top, sky at the horizon.
SKIES: dict[str, tuple[RGB, RGB]] = {
    "day": ((96, 172, 240), (196, 228, 250)),
    "sunset": ((150, 70, 140), (255, 160, 70)),
    "night": ((14, 18, 58), (40, 48, 104)),
}
#: Ground -> its colour by day.
GROUNDS: dict[str, RGB] = {
    "field": (104, 186, 74),
    "hills": (72, 160, 66),
    "sea": (32, 96, 178),
    "desert": (236, 196, 112),
    "mountains": (92, 160, 84),
    "snow": (240, 244, 250),
    "city": (96, 98, 104),
}
#: Time -> how much of each channel of a ground or an item is left.
LIGHT: dict[str, tuple[float, float, float]] = {
    "day": (1.0, 1.0, 1.0),
    "sunset": (0.92, 0.68, 0.62),
    "night": (0.42, 0.46, 0.62),
}
#: Where the ground begins, as a fraction of the height.
HORIZON = 0.62


def random_landscape(rng: random.Random) -> Landscape:
    """Choose a time, a ground and something that belongs there."""
    ground = rng.choice(list(ITEMS))
    return Landscape(rng.choice(TIMES), ground, rng.choice(ITEMS[ground]))


class LandscapePainter:
    """Draws one landscape; sizes are fractions of the canvas, so that any aspect works."""

    def __init__(self, pen: ImageDraw.ImageDraw, width: int, height: int, time: str, rng: random.Random) -> None:
        self._pen, self._width, self._height, self._time, self._rng = pen, width, height, time, rng
        self._unit = min(width, height)

    def paint(self, landscape: Landscape) -> None:
        """Draw from back to front: sky, sun or moon, ground, items."""
        self._sky()
        self._light_in_the_sky()
        self._ground(landscape.ground)
        x = 0.5 + self._rng.uniform(-0.03, 0.03)
        if landscape.item == "house and tree":
            self._house(x - 0.16)
            self._tree(x + 0.26)
        elif landscape.item:
            {"house": self._house, "tree": self._tree, "boat": self._boat, "cactus": self._cactus}[landscape.item](x)

    def _lit(self, color: RGB) -> RGB:
        red, green, blue = (int(c * light) for c, light in zip(color, LIGHT[self._time], strict=True))
        return red, green, blue

    def _polygon(self, x: float, y: float, points: list[tuple[float, float]], color: RGB) -> None:
        """Fill a polygon whose points are offsets, in units of the shorter side, from (x, y) in fractions."""
        left, top = x * self._width, y * self._height
        self._pen.polygon([(left + px * self._unit, top + py * self._unit) for px, py in points], fill=color)

    def _box(self, x: float, y: float, half_width: float, height: float, color: RGB) -> None:
        self._polygon(x, y, [(-half_width, -height), (half_width, -height), (half_width, 0), (-half_width, 0)], color)

    def _disc(self, x: float, y: float, radius: float, color: RGB, up: float = 0.0) -> None:
        left, top, r = x * self._width, y * self._height - up * self._unit, radius * self._unit
        self._pen.ellipse((left - r, top - r, left + r, top + r), fill=color)

    def _sky(self) -> None:
        top, bottom = SKIES[self._time]
        horizon = HORIZON * self._height
        for y in range(int(horizon) + 2):
            mix = min(1.0, y / horizon)
            self._pen.line(
                (0, y, self._width, y), fill=tuple(int(a + (b - a) * mix) for a, b in zip(top, bottom, strict=True))
            )

    def _light_in_the_sky(self) -> None:
        if self._time == "day":
            self._disc(0.8, 0.2, 0.105, (255, 222, 60))
        elif self._time == "sunset":
            self._disc(0.72, HORIZON - 0.03, 0.17, (255, 226, 96))
        else:
            self._disc(0.78, 0.2, 0.1, (250, 246, 214))
            self._disc(0.735, 0.175, 0.085, (22, 27, 69))
            for x, y in ((0.12, 0.12), (0.3, 0.26), (0.46, 0.1), (0.16, 0.42), (0.6, 0.33), (0.9, 0.44)):
                self._disc(x, y, 0.014, (250, 250, 235))

    def _ground(self, ground: str) -> None:
        color = self._lit(GROUNDS[ground])
        wide = self._width / self._unit
        if ground == "mountains":
            self._mountains()
        if ground == "city":
            self._city()
        self._box(0.5, 1.0, wide, (1 - HORIZON) * self._height / self._unit, color)
        if ground == "hills":
            darker = self._lit((50, 128, 56))
            for x, radius_x, fill in ((0.2, 0.42, darker), (0.78, 0.5, color)):
                box = ((x - radius_x), HORIZON - 0.13, (x + radius_x), HORIZON + 0.4)
                sides = (self._width, self._height, self._width, self._height)
                self._pen.ellipse(tuple(b * s for b, s in zip(box, sides, strict=True)), fill=fill)
        if ground == "sea":
            for x, y in ((0.16, 0.72), (0.8, 0.78), (0.3, 0.9)):
                self._box(x, y, 0.09, 0.016, self._lit((150, 200, 240)))
        if ground == "desert":
            self._pen.ellipse(
                (-0.3 * self._width, 0.74 * self._height, 0.75 * self._width, 1.4 * self._height),
                fill=self._lit((214, 166, 84)),
            )

    def _mountains(self) -> None:
        for x, height in ((0.22, 0.36), (0.8, 0.3), (0.52, 0.46)):
            rock, snow = self._lit((112, 116, 132)), self._lit((246, 248, 252))
            self._polygon(x, HORIZON, [(-0.8 * height, 0.02), (0, -height), (0.8 * height, 0.02)], rock)
            self._polygon(
                x, HORIZON, [(-0.27 * height, -0.66 * height), (0, -height), (0.27 * height, -0.66 * height)], snow
            )

    def _city(self) -> None:
        window = (255, 226, 120) if self._time != "day" else (196, 222, 240)
        for x, height in ((0.1, 0.26), (0.29, 0.42), (0.5, 0.32), (0.7, 0.48), (0.9, 0.3)):
            self._box(x, HORIZON + 0.01, 0.085, height, self._lit((110, 112, 134)))
            for row in range(int(height / 0.11)):
                for side in (-0.038, 0.038):
                    offset = side * self._unit / self._width
                    self._box(x + offset, HORIZON - 0.02 - 0.11 * row, 0.02, 0.05, window)

    def _house(self, x: float) -> None:
        self._box(x, 0.82, 0.17, 0.26, self._lit((244, 226, 190)))
        self._polygon(x, 0.82, [(-0.22, -0.26), (0, -0.46), (0.22, -0.26)], self._lit((196, 56, 44)))
        self._box(x, 0.82, 0.045, 0.15, self._lit((110, 66, 36)))
        window = (255, 226, 120) if self._time == "night" else self._lit((120, 190, 236))
        for side in (-0.105, 0.105):
            self._box(x + side * self._unit / self._width, 0.72, 0.035, 0.07, window)

    def _tree(self, x: float) -> None:
        self._box(x, 0.84, 0.03, 0.2, self._lit((112, 70, 36)))
        for dx, up, radius in ((-0.08, 0.26, 0.11), (0.08, 0.26, 0.11), (0.0, 0.38, 0.13)):
            self._disc(x + dx * self._unit / self._width, 0.84, radius, self._lit((34, 120, 50)), up)

    def _boat(self, x: float) -> None:
        self._box(x, 0.74, 0.012, 0.4, self._lit((100, 62, 34)))
        self._polygon(x, 0.7, [(0.02, -0.34), (0.2, -0.02), (0.02, -0.02)], self._lit((250, 248, 240)))
        self._polygon(x, 0.7, [(-0.02, -0.28), (-0.15, -0.02), (-0.02, -0.02)], self._lit((236, 230, 216)))
        self._polygon(x, 0.72, [(-0.24, -0.02), (0.24, -0.02), (0.16, 0.1), (-0.16, 0.1)], self._lit((150, 60, 40)))

    def _cactus(self, x: float) -> None:
        green = self._lit((40, 136, 64))
        self._box(x, 0.86, 0.05, 0.46, green)
        self._disc(x, 0.86, 0.05, green, 0.46)
        for side, up in ((-1, 0.14), (1, 0.2)):
            outer = x + side * 0.14 * self._unit / self._width
            self._box(
                x + side * 0.08 * self._unit / self._width, 0.86 - up * self._unit / self._height, 0.09, 0.07, green
            )
            self._box(outer, 0.86 - up * self._unit / self._height, 0.036, 0.2, green)
            self._disc(outer, 0.86, 0.036, green, up + 0.2)
