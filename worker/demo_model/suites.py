"""The prompts that the bundled model is judged on: random with a fixed seed, half of them never trained on."""

from __future__ import annotations

import random
from collections.abc import Callable

from demo_model.captions import PREFIXES, SUFFIXES, full_caption
from demo_model.compose import HELD_OUT, is_held_out, random_of_kind
from demo_model.palette import COLORS
from demo_model.picture import Kind, Pattern, Picture
from demo_model.shapes import SHAPES

#: A prompt and the picture it asks for.
Case = tuple[str, Picture]
#: The default seed of all suites.
SEED = 2026


def singles(count: int, seed: int = SEED) -> list[Case]:
    """One thing on a plain background; every second one is held out."""
    return _cases("single", Kind.SINGLE, count, _is_plain, half_held_out=True, seed=seed)


def pairs(count: int, seed: int = SEED) -> list[Case]:
    """Two things on a plain background; every second picture has a held-out combination."""
    return _cases("pair", Kind.PAIR, count, _is_plain, half_held_out=True, seed=seed)


def patterns(count: int, seed: int = SEED) -> list[Case]:
    """One thing on stripes, checkers or a gradient."""
    return _cases("pattern", Kind.SINGLE, count, lambda p: not _is_plain(p), half_held_out=False, seed=seed)


def rows(count: int, seed: int = SEED) -> list[Case]:
    """Two or three equal things in a row."""
    return _cases("row", Kind.COUNT, count, _is_plain, half_held_out=False, seed=seed)


def open_colors(count: int) -> list[str]:
    """Prompts that name a shape and a white background, but no colour: what negative prompts are tried on."""
    rng = random.Random(SEED)
    return [f"a {rng.choice(list(SHAPES))} on a white background" for _ in range(count)]


def _is_plain(picture: Picture) -> bool:
    return picture.background.pattern is Pattern.PLAIN


def _cases(
    name: str, kind: Kind, count: int, is_wanted: Callable[[Picture], bool], *, half_held_out: bool, seed: int
) -> list[Case]:
    rng = random.Random(f"{seed} {name}")
    cases: list[Case] = []
    while len(cases) < count:
        picture = random_of_kind(kind, rng)
        if not picture.is_color_named or not is_wanted(picture):
            continue
        if half_held_out and is_held_out(picture) != (len(cases) % 2 == 1):
            continue
        cases.append((rng.choice(PREFIXES) + full_caption(picture, rng) + rng.choice(SUFFIXES), picture))
    return cases


#: Scenes for the grid in the README.
SCENES = [
    "a house under the sun",
    "a tree on green hills",
    "a boat on the sea at sunset",
    "a night sky with a moon over mountains",
    "a cactus in the desert",
    "a city skyline at night",
    "a cottage in the snow",
    "a house and a tree in a meadow",
    "a sailboat on the ocean under the moon",
    "snowy mountains on a sunny day",
    "rolling hills at sunset",
    "a big tree by moonlight",
]
#: How many triples are held out, for the report.
NUM_HELD_OUT, NUM_TRIPLES = len(HELD_OUT), len(COLORS) * (len(COLORS) - 1) * len(SHAPES)
