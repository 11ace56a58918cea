"""Make up random pictures. Layouts are kept tight: what a caption does not say varies little.

A small network learns a narrow distribution sooner and draws it sharper than a wide one; variety comes from the words.
"""

from __future__ import annotations

import random

from demo_model.landscapes import random_landscape
from demo_model.palette import COLORS
from demo_model.picture import Background, Kind, Pattern, Picture, Thing
from demo_model.shapes import SHAPES

#: Share of each kind of picture, in percent.
SHARES: dict[Kind, int] = {
    Kind.SINGLE: 43,
    Kind.PAIR: 26,
    Kind.INSIDE: 4,
    Kind.COUNT: 5,
    Kind.TRIPLE: 4,
    Kind.EMPTY: 2,
    Kind.LANDSCAPE: 16,
}

#: Position word -> centre, as fractions of width and height.
PLACES: dict[str, tuple[float, float]] = {
    "": (0.5, 0.5),
    "center": (0.5, 0.5),
    "left": (0.25, 0.5),
    "right": (0.75, 0.5),
    "top": (0.5, 0.25),
    "bottom": (0.5, 0.75),
    "top left": (0.26, 0.26),
    "top right": (0.74, 0.26),
    "bottom left": (0.26, 0.74),
    "bottom right": (0.74, 0.74),
}

#: Size word -> radius of a thing in the middle, and of one that has to leave room.
RADII: dict[str, tuple[float, float]] = {"small": (0.15, 0.13), "medium": (0.25, 0.19), "large": (0.37, 0.23)}

#: Relation of the first thing to the second -> centres of both.
RELATIONS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "left": ((0.27, 0.5), (0.73, 0.5)),
    "right": ((0.73, 0.5), (0.27, 0.5)),
    "above": ((0.5, 0.27), (0.5, 0.73)),
    "below": ((0.5, 0.73), (0.5, 0.27)),
}

#: What a thing is painted when its colour is left open: red most often.
OPEN_COLORS = ["red"] * 4 + ["blue"] * 3 + ["green"] * 2 + ["yellow"] * 2

#: Combinations kept out of the training set, in percent of all.
HELD_OUT_PERCENT = 10


def held_out() -> frozenset[tuple[str, str, str]]:
    """Give the (colour, shape, plain background) triples that no training picture contains."""
    triples = [(c, s, b) for c in COLORS for s in SHAPES for b in COLORS if c != b]
    return frozenset(random.Random(10).sample(triples, len(triples) * HELD_OUT_PERCENT // 100))


HELD_OUT = held_out()


def is_held_out(picture: Picture) -> bool:
    """Say whether any thing of the picture belongs to the evaluation alone."""
    if picture.background.pattern is not Pattern.PLAIN:
        return False
    return any((t.color, t.shape, picture.background.colors[0]) in HELD_OUT for t in picture.things)


def random_picture(rng: random.Random) -> Picture:
    """Make up one training picture: any kind, no held-out combination."""
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    while is_held_out(picture := random_of_kind(kind, rng)):
        pass
    return picture


def random_of_kind(kind: Kind, rng: random.Random) -> Picture:
    """Make up one picture of a kind, held out or not."""
    makers = {
        Kind.SINGLE: _single,
        Kind.PAIR: _pair,
        Kind.INSIDE: _inside,
        Kind.COUNT: _count,
        Kind.TRIPLE: _triple,
        Kind.EMPTY: _empty,
        Kind.LANDSCAPE: _landscape,
    }
    return makers[kind](rng)


def random_background(rng: random.Random) -> Background:
    """Choose a background: white is the commonest, one in six has a pattern."""
    draw = rng.random()
    if draw < 0.33:
        return Background(Pattern.PLAIN, ("white",))
    if draw < 0.84:
        return Background(Pattern.PLAIN, (rng.choice(list(COLORS)),))
    pattern = rng.choice([Pattern.STRIPES, Pattern.CHECKERS, Pattern.GRADIENT])
    return Background(pattern, tuple(rng.sample(list(COLORS), 2)))


def _thing(color: str, size: str, centre: tuple[float, float], radius: float, rng: random.Random) -> Thing:
    x, y = (fraction + rng.uniform(-0.02, 0.02) for fraction in centre)
    return Thing(color, rng.choice(list(SHAPES)), size, x, y, radius * rng.uniform(0.95, 1.05))


def _colors_beside(background: Background, count: int, rng: random.Random) -> list[str]:
    return rng.sample([color for color in COLORS if color not in background.colors], count)


def _single(rng: random.Random) -> Picture:
    background = random_background(rng)
    place = rng.choice(list(PLACES)) if rng.random() < 0.4 else ""
    size = rng.choices(["small", "medium", "large"], [2, 5, 2])[0]
    radius = RADII[size][place not in ("", "center")]
    color = _colors_beside(background, 1, rng)[0]
    is_color_named = rng.random() > 0.1
    if not is_color_named:
        color = rng.choice([c for c in OPEN_COLORS if c not in background.colors])
    thing = _thing(color, size, PLACES[place], radius, rng)
    return Picture(Kind.SINGLE, background, (thing,), place, is_color_named)


def _pair(rng: random.Random) -> Picture:
    background = random_background(rng)
    relation = rng.choice(list(RELATIONS))
    sizes = ("medium", "medium") if rng.random() < 0.85 else rng.choice([("small", "large"), ("large", "small")])
    radii = {"small": 0.13, "medium": 0.185, "large": 0.225}
    colors = _colors_beside(background, 2, rng)
    if rng.random() < 0.06:
        colors[1] = colors[0]
    centres = RELATIONS[relation]
    things = [_thing(c, s, at, radii[s], rng) for c, s, at in zip(colors, sizes, centres, strict=True)]
    return Picture(Kind.PAIR, background, tuple(things), relation)


def _inside(rng: random.Random) -> Picture:
    background = random_background(rng)
    colors = _colors_beside(background, 2, rng)
    inner = _thing(colors[0], "small", (0.5, 0.5), 0.15, rng)
    shape = rng.choice(["circle", "square", "heart"])
    outer = Thing(colors[1], shape, "large", inner.x, inner.y, 0.39 * rng.uniform(0.95, 1.03))
    return Picture(Kind.INSIDE, background, (inner, outer))


def _row(count: int) -> list[tuple[float, float]]:
    return [((k + 0.5) / count * 0.96 + 0.02, 0.5) for k in range(count)]


def _count(rng: random.Random) -> Picture:
    background = random_background(rng)
    count = rng.choice([2, 3])
    first = _thing(_colors_beside(background, 1, rng)[0], "medium", (0.5, 0.5), 0.3 / count + 0.035, rng)
    things = [Thing(first.color, first.shape, "medium", x, first.y, first.radius) for x, _ in _row(count)]
    return Picture(Kind.COUNT, background, tuple(things))


def _triple(rng: random.Random) -> Picture:
    background = random_background(rng)
    colors = _colors_beside(background, 3, rng)
    things = [_thing(c, "medium", at, 0.135, rng) for c, at in zip(colors, _row(3), strict=True)]
    return Picture(Kind.TRIPLE, background, tuple(things))


def _empty(rng: random.Random) -> Picture:
    return Picture(Kind.EMPTY, random_background(rng))


def _landscape(rng: random.Random) -> Picture:
    return Picture(Kind.LANDSCAPE, Background(Pattern.PLAIN, ("white",)), landscape=random_landscape(rng))
