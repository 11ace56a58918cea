"""Pictures are made up and drawn as their descriptions say."""

from __future__ import annotations

import random

import numpy as np
import pytest

from demo_model.compose import HELD_OUT, is_held_out, random_of_kind, random_picture
from demo_model.draw import draw
from demo_model.palette import COLORS, JITTER
from demo_model.picture import Background, Kind, Pattern, Picture, Thing
from demo_model.shapes import SHAPES

RED_ON_BLUE = Picture(
    Kind.SINGLE, Background(Pattern.PLAIN, ("blue",)), (Thing("red", "circle", "medium", 0.5, 0.5, 0.25),)
)


def test_a_tenth_of_the_combinations_is_held_out() -> None:
    assert len(HELD_OUT) == len(COLORS) * (len(COLORS) - 1) * len(SHAPES) // 10


def test_no_training_picture_has_a_held_out_combination() -> None:
    rng = random.Random(1)

    pictures = [random_picture(rng) for _ in range(2000)]

    assert not any(is_held_out(picture) for picture in pictures)


def test_things_never_have_the_color_of_their_background() -> None:
    rng = random.Random(2)

    pictures = [random_picture(rng) for _ in range(2000)]

    assert not any(thing.color in picture.background.colors for picture in pictures for thing in picture.things)


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (draw(random_picture(random.Random(3)), 64, 64, random.Random(4)) for _ in range(2))

    assert np.array_equal(first, second)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 192), (192, 128)])
@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_drawn_at_every_size(kind: Kind, width: int, height: int) -> None:
    rng = random.Random(5)

    pixels = draw(random_of_kind(kind, rng), width, height, rng)

    assert pixels.shape == (height, width, 3)
    assert pixels.dtype == np.uint8


def test_a_thing_is_drawn_in_its_color_on_its_background() -> None:
    pixels = draw(RED_ON_BLUE, 64, 64, random.Random(0)).astype(int)

    assert np.abs(pixels[32, 32] - COLORS["red"]).max() <= JITTER
    assert np.abs(pixels[2, 2] - COLORS["blue"]).max() <= JITTER


def test_a_ring_has_a_hole() -> None:
    ring = Picture(Kind.SINGLE, Background(Pattern.PLAIN, ("blue",)), (Thing("red", "ring", "medium", 0.5, 0.5, 0.25),))

    pixels = draw(ring, 64, 64, random.Random(0)).astype(int)

    assert np.abs(pixels[32, 32] - COLORS["blue"]).max() <= JITTER
