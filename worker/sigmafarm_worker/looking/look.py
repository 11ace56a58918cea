"""What a look gives, and how it is drawn: pictures side by side, a table of words, two curves. Pillow alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

#: Sizes in pixels: the side of a small picture enlarged, space, letters, a plot.
SIDE_PX, GAP_PX, TEXT_PX = 224, 12, 14
PLOT_W_PX, PLOT_H_PX, PLOT_LEFT_PX = 560, 260, 64
#: Pictures and words in a row.
MAX_COLUMNS = 6
PAPER, INK, FAINT, LINE = (250, 250, 248), (32, 33, 36), (112, 114, 120), (206, 206, 202)
CURVE = (38, 98, 180)


@dataclass(frozen=True)
class Look:
    """A picture for people, and the same in numbers, which JSON can hold."""

    picture: Image.Image
    figures: Mapping[str, Any]

    def save(self, path: Path) -> tuple[Path, Path]:
        """Write the PNG and the JSON beside it; return both paths. Raises OSError."""
        png, numbers = path.with_suffix(".png"), path.with_suffix(".json")
        self.picture.save(png)
        numbers.write_text(json.dumps(self.figures, ensure_ascii=False, indent=1) + "\n", "utf-8")
        return png, numbers


def draw_grid(title: str, pictures: Sequence[tuple[NDArray[np.uint8], str]]) -> Image.Image:
    """Return pictures (uint8 [H, W, 3] or [H, W]) side by side, each with a caption; small ones enlarged without
    smoothing."""
    images = [(_fitted(Image.fromarray(pixels).convert("RGB")), caption) for pixels, caption in pictures]
    columns = max(1, min(MAX_COLUMNS, len(images)))
    lines = -(-len(images) // columns)
    cell_w, cell_h = SIDE_PX + GAP_PX, max([image.height for image, _ in images] + [TEXT_PX]) + 2 * TEXT_PX + GAP_PX
    sheet, draw, font = _paper(columns * cell_w + GAP_PX, lines * cell_h + GAP_PX, title)
    top = GAP_PX + 2 * TEXT_PX
    for n, (image, caption) in enumerate(images):
        at = (GAP_PX + n % columns * cell_w, top + n // columns * cell_h)
        sheet.paste(image, at)
        draw.text((at[0], at[1] + image.height + 3), caption, INK, font)
    return sheet


def draw_words(title: str, parts: Sequence[tuple[str, Sequence[tuple[str, str, bool]]]]) -> Image.Image:
    """Return words in columns, each with something small above; those that are not used are pale. Each part begins a
    line, below its name if it has one."""
    columns, cell_w, cell_h, name_h = 8, 112, 46, 2 * TEXT_PX
    heights = [-(-len(rows) // columns) * cell_h + (name_h if name else 0) for name, rows in parts]
    sheet, draw, font = _paper(columns * cell_w + 2 * GAP_PX, sum(heights) + GAP_PX, title)
    top = 2 * GAP_PX + TEXT_PX
    for (name, rows), height in zip(parts, heights, strict=True):
        draw.text((GAP_PX, top), name, INK, font)
        first = top + (name_h if name else 0)
        for n, (small, word, is_used) in enumerate(rows):
            at = (GAP_PX + n % columns * cell_w, first + n // columns * cell_h)
            draw.text(at, small, FAINT, font)
            shown = word
            while len(shown) > 1 and font.getlength(shown) > cell_w - 8:
                shown = shown[:-1]
            draw.text((at[0], at[1] + TEXT_PX + 4), shown, INK if is_used else LINE, font)
        top += height
    return sheet


def draw_curves(title: str, curves: Sequence[tuple[str, Sequence[float]]]) -> Image.Image:
    """Return a plot of each curve over its steps, one below the other, its ends and its middle written at the axes."""
    sheet, draw, font = _paper(PLOT_LEFT_PX + PLOT_W_PX + 2 * GAP_PX, len(curves) * (PLOT_H_PX + 52), title)
    for n, (name, values) in enumerate(curves):
        top = 3 * TEXT_PX + n * (PLOT_H_PX + 52)
        draw.text((GAP_PX, top - 2), name, FAINT, font)
        _draw_curve(draw, font, values, (PLOT_LEFT_PX, top + TEXT_PX + 8))
    return sheet


def _draw_curve(draw: ImageDraw.ImageDraw, font: Any, values: Sequence[float], at: tuple[int, int]) -> None:
    left, top = at
    low, high = min(values), max(values)
    span, last = (high - low) or 1.0, max(1, len(values) - 1)
    for part in (0.0, 0.5, 1.0):
        y = round(top + PLOT_H_PX * (1 - part))
        draw.line((left, y, left + PLOT_W_PX, y), LINE)
        draw.text((4, y - TEXT_PX // 2 - 2), f"{low + span * part:.4g}", FAINT, font)
    points = [
        (left + PLOT_W_PX * step / last, top + PLOT_H_PX * (1 - (value - low) / span))
        for step, value in enumerate(values)
    ]
    draw.line(points, CURVE, 2)
    for x, y in points if len(points) <= 100 else ():
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), CURVE)
    for step in {0, last // 2, last}:
        draw.text((left + PLOT_W_PX * step / last - 8, top + PLOT_H_PX + 4), str(step), FAINT, font)


def _fitted(image: Image.Image) -> Image.Image:
    factor = SIDE_PX / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)


def _paper(width: int, height: int, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw, Any]:
    """Return a sheet with its title; the height is that of what stands below."""
    sheet = Image.new("RGB", (max(width, 360), height + 2 * TEXT_PX + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    shown = " ".join(title.split())
    while font.getlength(shown) > sheet.width - 2 * GAP_PX:
        shown = shown[:-1]
    draw.text((GAP_PX, GAP_PX - 2), shown, INK, font)
    return sheet, draw, font
