"""The ten colours that the bundled model knows, and their exact values.

They lie far apart, so that the checker can tell which colour a pixel was meant to be, and a person agrees.
"""

from __future__ import annotations

import random

RGB = tuple[int, int, int]

#: Colour word -> the value that a picture is drawn with, before jitter.
COLORS: dict[str, RGB] = {
    "red": (218, 38, 42),
    "orange": (252, 138, 24),
    "yellow": (252, 222, 50),
    "green": (44, 160, 70),
    "blue": (42, 88, 218),
    "purple": (134, 54, 178),
    "pink": (252, 142, 190),
    "brown": (120, 72, 38),
    "black": (26, 26, 28),
    "white": (246, 246, 246),
}

#: Largest change of a channel when a colour is drawn: enough to forbid memorising, too little to change its name.
JITTER = 8


def shade(color: str, rng: random.Random) -> RGB:
    """Give one drawn value of a colour word."""
    red, green, blue = (min(255, max(0, channel + rng.randint(-JITTER, JITTER))) for channel in COLORS[color])
    return red, green, blue
