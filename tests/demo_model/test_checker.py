"""The checker passes true pictures and catches every kind of mistake."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from demo_model.checker import Verdict, check
from demo_model.compose import random_of_kind
from demo_model.draw import draw
from demo_model.picture import Background, Kind, Pattern, Picture, Thing
from demo_model.suites import pairs, patterns, rows, singles

PAIR = Picture(
    Kind.PAIR,
    Background(Pattern.PLAIN, ("white",)),
    (Thing("red", "circle", "medium", 0.27, 0.5, 0.18), Thing("blue", "star", "medium", 0.73, 0.5, 0.18)),
    "left",
)
ALL_RIGHT = Verdict(background=True, color=True, shape=True, strict=True, position=True)


def _drawn(picture: Picture, side: int = 128) -> np.ndarray:
    return draw(picture, side, side, random.Random(7))


@pytest.mark.parametrize("suite", [singles, pairs, patterns, rows])
def test_true_pictures_are_all_right(suite) -> None:
    for prompt, picture in suite(12):
        assert check(_drawn(picture), picture) == ALL_RIGHT, prompt


def test_small_and_wide_true_pictures_are_all_right() -> None:
    for prompt, picture in singles(8):
        for width, height in ((64, 64), (192, 128)):
            assert check(draw(picture, width, height, random.Random(7)), picture) == ALL_RIGHT, prompt


def test_half_of_the_judged_single_things_are_held_out() -> None:
    from demo_model.compose import is_held_out

    assert sum(is_held_out(picture) for _, picture in singles(40)) == 20


def test_swapped_things_are_caught() -> None:
    left, right = PAIR.things
    swapped = replace(PAIR, things=(replace(left, x=right.x), replace(right, x=left.x)))

    assert not check(_drawn(swapped), PAIR).color


def test_a_wrong_color_is_caught_and_nothing_else() -> None:
    left, right = PAIR.things
    wrong = replace(PAIR, things=(replace(left, color="green"), right))

    assert check(_drawn(wrong), PAIR) == replace(ALL_RIGHT, color=False)


def test_a_wrong_shape_is_caught() -> None:
    left, right = PAIR.things
    wrong = replace(PAIR, things=(replace(left, shape="heart"), right))

    verdict = check(_drawn(wrong), PAIR)

    assert not verdict.shape
    assert verdict.color


def test_a_wrong_background_is_caught() -> None:
    wrong = replace(PAIR, background=Background(Pattern.PLAIN, ("yellow",)))

    assert not check(_drawn(wrong), PAIR).background


def test_a_thing_in_the_wrong_place_is_caught() -> None:
    picture = random_of_kind(Kind.SINGLE, random.Random(1))
    thing = Thing("red", "square", "medium", 0.25, 0.5, 0.19)
    asked = Picture(Kind.SINGLE, Background(Pattern.PLAIN, ("white",)), (thing,), "left")
    drawn = replace(asked, things=(replace(thing, x=0.5),))

    assert picture.things
    assert not check(_drawn(drawn), asked).position


def test_an_empty_picture_shows_nothing() -> None:
    empty = Picture(Kind.EMPTY, PAIR.background)

    verdict = check(_drawn(empty), PAIR)

    assert verdict == Verdict(background=True, color=False, shape=False, strict=False, position=False)


def test_noise_is_not_all_right() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)

    assert not check(noise, PAIR).all_right
