"""Say what a picture shows, in one of many ways; a new way each time the picture is used for training.

Some captions say only a part ("red", "blue background"): they are what negative prompts are made of.
"""

from __future__ import annotations

import random

from demo_model.picture import Background, Kind, Landscape, Pattern, Picture, Thing

SYNONYMS: dict[str, list[str]] = {
    "circle": ["circle", "circle", "disc", "ball", "dot"],
    "square": ["square", "square", "box", "block"],
    "triangle": ["triangle", "triangle", "pyramid"],
    "star": ["star", "star", "five pointed star"],
    "heart": ["heart", "heart", "love heart"],
    "diamond": ["diamond", "diamond", "rhombus"],
    "cross": ["cross", "cross", "plus", "plus sign"],
    "ring": ["ring", "ring", "hoop", "donut"],
    "small": ["small", "small", "little", "tiny"],
    "large": ["large", "big", "big", "huge"],
    "purple": ["purple", "purple", "purple", "violet"],
    "pink": ["pink", "pink", "pink", "rose"],
}
PLACE_PHRASES: dict[str, list[str]] = {
    "center": ["in the center", "in the middle", "centered"],
    "left": ["on the left", "on the left side", "at the left"],
    "right": ["on the right", "on the right side", "at the right"],
    "top": ["at the top", "near the top"],
    "bottom": ["at the bottom", "near the bottom"],
}
CORNER_PHRASES = ["in the {} corner", "at the {}", "in the {}"]
RELATION_PHRASES: dict[str, list[str]] = {
    "left": ["to the left of", "left of", "and", "next to", "beside"],
    "right": ["to the right of", "right of"],
    "above": ["above", "over", "on top of"],
    "below": ["below", "under", "underneath"],
}
PREFIXES = ["", "", "", "", "a photo of ", "a picture of ", "an image of ", "a drawing of ", "a painting of "]
SUFFIXES = ["", "", "", "", "", ", highly detailed", ", simple", ", flat illustration", ", high quality", ", minimal"]
NUMBERS = {2: ["two", "two", "a pair of", "2"], 3: ["three", "three", "3"]}
PLURALS = {"cross": "crosses", "plus": "pluses", "box": "boxes", "rhombus": "rhombuses"}
TIME_PHRASES: dict[str, list[str]] = {
    "day": ["", "under the sun", "on a sunny day", "in sunshine", "under a blue sky", "by day"],
    "sunset": ["at sunset", "at sunset", "at dusk", "under an orange sky", "in the evening"],
    "night": [
        "at night",
        "at night",
        "under the moon",
        "under a night sky",
        "under the moon and stars",
        "by moonlight",
    ],
}
SCENE_ITEMS: dict[str, list[str]] = {
    "house": ["a house", "a house", "a small house", "a cottage", "a home"],
    "tree": ["a tree", "a tree", "a green tree", "a big tree"],
    "house and tree": ["a house and a tree", "a house with a tree", "a house beside a tree"],
    "boat": ["a boat", "a boat", "a sailing boat", "a ship", "a sailboat"],
    "cactus": ["a cactus", "a cactus", "a green cactus"],
}
SCENE_GROUNDS: dict[str, tuple[list[str], list[str]]] = {
    "field": (["a field", "a green field", "a meadow"], ["on a field", "in a field", "in a meadow", "on grass"]),
    "hills": (["green hills", "hills", "rolling hills"], ["on the hills", "on green hills", "among hills"]),
    "sea": (["the sea", "the ocean", "a calm sea"], ["on the sea", "on the water", "on the ocean", "at sea"]),
    "desert": (["a desert", "sand dunes", "the desert"], ["in the desert", "in a desert", "on the sand"]),
    "mountains": (["mountains", "snowy mountains"], ["in the mountains", "in front of mountains", "near mountains"]),
    "snow": (["snow"], ["in the snow", "in snow", "in winter"]),
    "city": (["a city", "a city skyline", "tall buildings", "a town"], []),
}
#: Scenes whose item and ground need not both be said: (ground, item) -> what may be left out.
OBVIOUS = {("field", "house"), ("field", "tree"), ("field", "house and tree"), ("sea", "boat"), ("desert", "cactus")}
#: Part of captions of single things that say only one part of the picture.
PARTIAL = 0.1
#: Part of the captions seen in training that end in a word of random letters.
STRANGE = 0.04


def training_caption(picture: Picture, rng: random.Random) -> str:
    """Give a caption, now and then with a meaningless word at the end, so that unknown words do no harm."""
    text = caption(picture, rng)
    if rng.random() < STRANGE:
        text += " " + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))
    return text


def caption(picture: Picture, rng: random.Random) -> str:
    """Give one caption of the picture; its words agree with what is drawn, but need not say all of it."""
    if picture.kind in (Kind.SINGLE, Kind.EMPTY) and picture.is_color_named and rng.random() < PARTIAL:
        return _partial(picture, rng)
    return rng.choice(PREFIXES) + full_caption(picture, rng) + rng.choice(SUFFIXES)


def full_caption(picture: Picture, rng: random.Random) -> str:
    """Give a caption that says everything the picture is to be judged by."""
    if picture.landscape:
        return _landscape(picture.landscape, rng)
    if picture.kind is Kind.EMPTY:
        return _article(_fill(picture.background, rng)) + " background"
    words = _things(picture, rng)
    background = _background(picture.background, rng)
    place = _place(picture, rng)
    order = [words, place, background] if rng.random() < 0.6 else [words, background, place]
    return " ".join(part for part in order if part)


def _word(word: str, rng: random.Random) -> str:
    return rng.choice(SYNONYMS.get(word, [word]))


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def noun(thing: Thing, rng: random.Random, *, is_color_named: bool = True) -> str:
    """Give "large red star": a medium size is never said, the colour may be left open."""
    size = "" if thing.size == "medium" else _word(thing.size, rng)
    color = _word(thing.color, rng) if is_color_named else ""
    return " ".join(part for part in (size, color, _word(thing.shape, rng)) if part)


def _things(picture: Picture, rng: random.Random) -> str:
    things = picture.things
    if picture.kind is Kind.COUNT:
        name = noun(things[0], rng)
        last = name.split()[-1]
        return rng.choice(NUMBERS[len(things)]) + " " + name[: -len(last)] + PLURALS.get(last, last + "s")
    nouns = [_article(noun(thing, rng, is_color_named=picture.is_color_named)) for thing in things]
    if picture.kind is Kind.SINGLE:
        return nouns[0] if rng.random() < 0.85 else nouns[0].split(" ", 1)[1]
    if picture.kind is Kind.PAIR:
        return f"{nouns[0]} {rng.choice(RELATION_PHRASES[picture.place])} {nouns[1]}"
    if picture.kind is Kind.INSIDE:
        return f"{nouns[0]} {rng.choice(['inside', 'in', 'inside of', 'within'])} {nouns[1]}"
    return f"{nouns[0]}, {nouns[1]} and {nouns[2]}"


def _place(picture: Picture, rng: random.Random) -> str:
    if picture.kind is not Kind.SINGLE or not picture.place:
        return ""
    if " " in picture.place:
        return rng.choice(CORNER_PHRASES).format(picture.place)
    return rng.choice(PLACE_PHRASES[picture.place])


def _fill(background: Background, rng: random.Random) -> str:
    """Give "red", "red and blue striped" or "red to blue gradient"."""
    colors = [_word(color, rng) for color in background.colors]
    if background.pattern is Pattern.PLAIN:
        return colors[0]
    if background.pattern is Pattern.GRADIENT:
        return f"{colors[0]} to {colors[1]} gradient"
    word = {Pattern.STRIPES: ["striped", "stripes"], Pattern.CHECKERS: ["checkered", "checkerboard", "chequered"]}
    return f"{colors[0]} and {colors[1]} {rng.choice(word[background.pattern])}"


def _background(background: Background, rng: random.Random) -> str:
    if background.colors == ("white",) and rng.random() < 0.5:
        return ""
    fill = _fill(background, rng)
    return rng.choice([f"on {_article(fill)} background", f"on {_article(fill)} background", f"on {fill}"])


def _partial(picture: Picture, rng: random.Random) -> str:
    fill = _fill(picture.background, rng) + " background"
    if not picture.things:
        return fill
    color, shape = _word(picture.things[0].color, rng), _word(picture.things[0].shape, rng)
    return rng.choice([color, f"{color} shape", f"a {color} thing", f"{color} {shape}", shape, fill, fill])


def _landscape(scene: Landscape, rng: random.Random) -> str:
    time = rng.choice(TIME_PHRASES[scene.time])
    grounds, on_grounds = SCENE_GROUNDS[scene.ground]
    if not scene.item:
        return " ".join(part for part in (rng.choice(grounds), time) if part)
    item = rng.choice(SCENE_ITEMS[scene.item])
    ground = rng.choice(on_grounds)
    if (scene.ground, scene.item) in OBVIOUS and rng.random() < 0.35:
        ground = ""
    order = (item, ground, time) if rng.random() < 0.75 else (item, time, ground)
    return " ".join(part for part in order if part)
