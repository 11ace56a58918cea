"""What a picture shows, before it is drawn or said: plain data that drawing, captions and checker share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Which sentence pattern a picture belongs to."""

    #: One thing, somewhere.
    SINGLE = "single"
    #: Two things beside or above each other.
    PAIR = "pair"
    #: A small thing on top of a large one.
    INSIDE = "inside"
    #: Two or three equal things in a row.
    COUNT = "count"
    #: Three different things in a row.
    TRIPLE = "triple"
    #: A background and nothing on it.
    EMPTY = "empty"
    #: A small scene.
    LANDSCAPE = "landscape"


class Pattern(Enum):
    """How a background is filled."""

    #: One colour.
    PLAIN = "plain"
    #: Upright bands of two colours.
    STRIPES = "striped"
    #: Squares of two colours in turn.
    CHECKERS = "checkered"
    #: From the first colour at the top to the second at the bottom.
    GRADIENT = "gradient"


@dataclass(frozen=True)
class Background:
    """A fill; PLAIN has one colour, every other pattern two."""

    pattern: Pattern
    colors: tuple[str, ...]


@dataclass(frozen=True)
class Thing:
    """One coloured shape. x and y are fractions of width and height, radius a fraction of the shorter side."""

    color: str
    shape: str
    size: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Landscape:
    """A scene in words: when, where, and what stands in it ("" for nothing)."""

    time: str
    ground: str
    item: str


@dataclass(frozen=True)
class Picture:
    """Everything that is drawn, with what the caption may say about the layout."""

    kind: Kind
    background: Background
    things: tuple[Thing, ...] = ()
    #: A SINGLE's position word, or a PAIR's relation: "right" means the first thing is right of the second.
    place: str = ""
    #: False where the caption leaves the colour of a SINGLE open.
    is_color_named: bool = True
    landscape: Landscape | None = None
