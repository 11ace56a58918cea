"""Look at a rendered picture and say whether it shows what was asked for. No network: colours and outlines only.

A thing is the pixels that are nearer to its colour than to the background's; its shape is the one whose outline, moved
and scaled, overlaps those pixels best (IoU, intersection over union).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from demo_model.draw import draw
from demo_model.palette import COLORS
from demo_model.picture import Background, Kind, Pattern, Picture, Thing
from demo_model.shapes import SHAPES, shape_mask

#: Overlap from which a shape counts as drawn well.
STRICT_IOU = 0.75
#: Farthest that a thing's centre may lie from its place, as a fraction of the side.
PLACE_TOLERANCE = 0.12
#: Smallest area of a thing, as a fraction of the picture.
MIN_AREA = 0.004
#: Least distance in RGB between a pixel and the background for the pixel to belong to a thing.
MIN_CONTRAST = 48.0
#: Part of a pattern's pixels that must have the right colour.
MIN_PATTERN_MATCH = 0.8

_NAMES = list(COLORS)
_VALUES = np.array([COLORS[name] for name in _NAMES], dtype=np.float32)  # [10, 3]


@dataclass(frozen=True)
class Verdict:
    """What was right about one picture."""

    background: bool
    color: bool
    shape: bool
    strict: bool
    position: bool

    @property
    def all_right(self) -> bool:
        """Say whether background, colours, shapes and places are right (strictness apart)."""
        return self.background and self.color and self.shape and self.position


def check(pixels: np.ndarray, picture: Picture) -> Verdict:
    """Judge uint8 pixels [H, W, 3] against a picture of things (not a landscape)."""
    background = check_background(pixels, picture.background, picture.things)
    found = [check_thing(part, thing, picture.background) for part, thing in parts(pixels, picture)]
    return Verdict(background, *(all(column) for column in zip(*found, strict=True)))


def color_name(rgb: np.ndarray) -> str:
    """Name the palette colour nearest to a value [3]."""
    return _NAMES[int(np.square(_VALUES - rgb).sum(1).argmin())]


def parts(pixels: np.ndarray, picture: Picture) -> list[tuple[np.ndarray, Thing]]:
    """Cut the picture where its things should be apart; each thing is moved into the coordinates of its part."""
    things = picture.things
    if picture.kind is Kind.PAIR and picture.place in ("above", "below"):
        turned = [Thing(t.color, t.shape, t.size, t.y, t.x, t.radius) for t in things]
        cut = _columns(pixels.transpose(1, 0, 2), turned)
        return [(part.transpose(1, 0, 2), Thing(t.color, t.shape, t.size, t.y, t.x, t.radius)) for part, t in cut]
    return _columns(pixels, list(things))


def _columns(pixels: np.ndarray, things: list[Thing]) -> list[tuple[np.ndarray, Thing]]:
    width, count = pixels.shape[1], len(things)
    result = []
    for thing in things:
        column = min(count - 1, int(thing.x * count))
        left, right = column * width // count, (column + 1) * width // count
        x = (thing.x * width - left) / (right - left)
        result.append((pixels[:, left:right], Thing(thing.color, thing.shape, thing.size, x, thing.y, thing.radius)))
    return result


def check_background(pixels: np.ndarray, background: Background, things: tuple[Thing, ...]) -> bool:
    """Say whether the pixels away from the things have the background's colours in the right places."""
    height, width = pixels.shape[:2]
    if background.pattern is Pattern.PLAIN:
        return color_name(frame_color(pixels)) == background.colors[0]
    ideal = draw(Picture(Kind.EMPTY, background), width, height, random.Random(0)).astype(np.float32)
    away = np.ones((height, width), dtype=bool)
    for t in things:
        x, y, radius = t.x * width, t.y * height, 1.4 * t.radius * min(width, height)
        away &= np.asarray(shape_mask("circle", x, y, radius, width, height)) == 0
    if background.pattern is Pattern.GRADIENT:
        return bool(np.abs(pixels - ideal)[away].mean() < 30)
    colors = [np.array(COLORS[name], dtype=np.float32) for name in background.colors]
    return bool((nearest_of(pixels, colors) == nearest_of(ideal, colors))[away].mean() >= MIN_PATTERN_MATCH)


def frame_color(pixels: np.ndarray) -> np.ndarray:
    """Give the median colour [3] of the outermost pixels."""
    edge = max(2, min(pixels.shape[:2]) // 32)
    inner = np.zeros(pixels.shape[:2], dtype=bool)
    inner[edge:-edge, edge:-edge] = True
    return np.median(pixels[~inner], axis=0)


def check_thing(pixels: np.ndarray, thing: Thing, background: Background) -> tuple[bool, bool, bool, bool]:
    """Judge colour, shape, strict shape and position of the one thing in these pixels."""
    mask, color = find_thing(pixels, thing, background)
    if mask is None:
        return False, False, False, False
    overlaps = {shape: best_overlap(mask, shape) for shape in SHAPES}
    is_shape = max(overlaps, key=overlaps.__getitem__) == thing.shape
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    off_x, off_y = (columns.mean() + 0.5) / width - thing.x, (rows.mean() + 0.5) / height - thing.y
    tolerance = PLACE_TOLERANCE * max(height, width)
    is_there = abs(off_x) * width < tolerance and abs(off_y) * height < tolerance
    return color == thing.color, is_shape, is_shape and overlaps[thing.shape] >= STRICT_IOU, bool(is_there)


def find_thing(pixels: np.ndarray, thing: Thing, background: Background) -> tuple[np.ndarray | None, str]:
    """Give the mask [H, W] of the thing and the name of its colour; no mask where nothing stands out."""
    values = pixels.astype(np.float32)
    if background.pattern is Pattern.PLAIN:
        grounds = [frame_color(pixels)]
        color = _standing_out(values, grounds[0])
    else:
        # On a pattern only the expected colour can tell a thing from its ground.
        grounds = _pattern_colors(values, background)
        color = np.array(COLORS[thing.color], dtype=np.float32)
    if color is None:
        return None, ""
    mask = nearest_of(values, [color, *grounds]) == 0
    if background.pattern is not Pattern.PLAIN:
        mask = ndimage.binary_opening(mask, iterations=2)
    mask = _largest(mask)
    if mask.mean() < MIN_AREA:
        return None, ""
    core = ndimage.binary_erosion(mask)
    return mask, color_name(np.median(values[core if core.any() else mask], axis=0))


def _standing_out(values: np.ndarray, ground: np.ndarray) -> np.ndarray | None:
    """Give the typical colour [3] of the pixels that differ from the ground."""
    far = np.linalg.norm(values - ground, axis=2) > MIN_CONTRAST
    inside = ndimage.binary_erosion(_largest(far), iterations=2)
    chosen = inside if inside.sum() >= 12 else far
    return np.median(values[chosen], axis=0) if chosen.sum() >= 12 else None


def _pattern_colors(values: np.ndarray, background: Background) -> list[np.ndarray]:
    """Give the colours that a pattern may have at each pixel, broadcastable to [H, W, 3]."""
    if background.pattern is Pattern.GRADIENT:
        return [np.median(values[:, [0, 1, 2, -3, -2, -1]], axis=1)[:, None]]
    return [np.array(COLORS[name], dtype=np.float32) for name in background.colors]


def nearest_of(values: np.ndarray, colors: list[np.ndarray]) -> np.ndarray:
    """Give, for every pixel of values [H, W, 3], the index of the nearest of these colours."""
    return np.stack([np.square(values - color).sum(2) for color in colors]).argmin(0)


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    return labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())


def best_overlap(mask: np.ndarray, shape: str) -> float:
    """Give the best IoU of a mask [H, W] with a shape's outline, over small moves and sizes around its box."""
    rows, columns = np.nonzero(mask)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    points = np.array(SHAPES[shape][0])
    low, high = points.min(0), points.max(0)
    radius = ((box[2] - box[0]) / (high[0] - low[0]) + (box[3] - box[1]) / (high[1] - low[1])) / 2
    centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]) - radius * (low + high) / 2
    best, at = 0.0, (0.0, 0.0, 1.0)
    for step in (1.0, 0.5):
        around = at
        for dx, dy, scale in _moves(step):
            x, y, grow = around[0] + dx * radius, around[1] + dy * radius, around[2] * scale
            template = np.asarray(shape_mask(shape, centre[0] + x, centre[1] + y, radius * grow, *mask.shape[::-1])) > 0
            overlap = float((mask & template).sum() / (mask | template).sum())
            if overlap > best:
                best, at = overlap, (x, y, grow)
    return best


def _moves(step: float) -> list[tuple[float, float, float]]:
    shifts = [-0.08 * step, 0.0, 0.08 * step]
    return [(dx, dy, scale) for dx in shifts for dy in shifts for scale in (1 - 0.08 * step, 1.0, 1 + 0.08 * step)]
