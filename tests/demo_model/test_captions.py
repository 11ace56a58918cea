"""Captions say what is drawn."""

from __future__ import annotations

import random

import pytest

from demo_model.captions import SYNONYMS, caption, full_caption, training_caption
from demo_model.compose import random_of_kind
from demo_model.palette import COLORS
from demo_model.picture import Background, Kind, Pattern, Picture, Thing


def _names(word: str, text: str) -> bool:
    return any(synonym in text for synonym in SYNONYMS.get(word, [word]))


@pytest.mark.parametrize("kind", [Kind.SINGLE, Kind.PAIR, Kind.INSIDE, Kind.COUNT, Kind.TRIPLE])
def test_a_full_caption_names_every_color_and_shape(kind: Kind) -> None:
    rng = random.Random(1)
    for _ in range(200):
        picture = random_of_kind(kind, rng)

        text = full_caption(picture, rng)

        for thing in picture.things:
            assert _names(thing.shape, text), text
            assert not picture.is_color_named or _names(thing.color, text), text


def test_only_a_white_background_may_go_unsaid() -> None:
    rng = random.Random(2)
    for _ in range(300):
        picture = random_of_kind(Kind.PAIR, rng)

        text = full_caption(picture, rng)

        assert picture.background.colors == ("white",) or all(_names(c, text) for c in picture.background.colors)


def test_an_open_color_is_not_given_away() -> None:
    rng = random.Random(3)
    thing = Thing("red", "circle", "medium", 0.5, 0.5, 0.25)
    picture = Picture(Kind.SINGLE, Background(Pattern.PLAIN, ("white",)), (thing,), is_color_named=False)

    texts = [caption(picture, rng) for _ in range(200)]

    assert not any(_names(color, text) for text in texts for color in COLORS if color != "white")


def test_captions_vary() -> None:
    rng = random.Random(4)
    picture = random_of_kind(Kind.LANDSCAPE, rng)

    assert len({training_caption(picture, rng) for _ in range(100)}) > 30


def test_articles_fit_their_words() -> None:
    rng = random.Random(5)

    texts = [caption(random_of_kind(kind, rng), rng) for kind in Kind for _ in range(300)]

    assert not any(f" a {vowel}" in f" {text}" for text in texts for vowel in "aeio")
