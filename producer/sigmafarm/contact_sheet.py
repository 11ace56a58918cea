"""Many pictures on one sheet, each with its prompt below."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

#: Sides of a thumbnail, of the gap around it, and of the caption's lines, in pixels.
THUMBNAIL_PX, GAP_PX, LINE_PX, FONT_PX = 192, 12, 15, 12
#: Lines and characters a line of a caption.
CAPTION_LINES, CAPTION_CHARS = 2, 30
#: Pictures in a row at most.
MAX_COLUMNS = 6
#: The sheet and its letters.
PAPER, INK = (250, 250, 248), (40, 40, 44)


def contact_sheet(pictures: Sequence[tuple[Path, str]]) -> Image.Image:
    """Return a sheet of the pictures in order, scaled to fit their places, with their captions."""
    columns = min(MAX_COLUMNS, len(pictures))
    cell_w, cell_h = THUMBNAIL_PX + GAP_PX, THUMBNAIL_PX + GAP_PX + CAPTION_LINES * LINE_PX
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * cell_w + GAP_PX, rows * cell_h + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_PX)
    for number, (path, caption) in enumerate(pictures):
        left, top = GAP_PX + number % columns * cell_w, GAP_PX + number // columns * cell_h
        sheet.paste(_thumbnail(path), (left, top))
        draw.multiline_text((left, top + THUMBNAIL_PX + 2), _caption(caption), INK, font, spacing=2)
    return sheet


def _thumbnail(path: Path) -> Image.Image:
    """Return a picture fitted into a square, enlarged without smoothing if it is small."""
    with Image.open(path) as image:
        factor = THUMBNAIL_PX / max(image.size)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
        square = Image.new("RGB", (THUMBNAIL_PX, THUMBNAIL_PX), PAPER)
        square.paste(
            image.convert("RGB").resize(size, how), ((THUMBNAIL_PX - size[0]) // 2, (THUMBNAIL_PX - size[1]) // 2)
        )
        return square


def _caption(text: str) -> str:
    lines = textwrap.wrap(text, CAPTION_CHARS, max_lines=CAPTION_LINES, placeholder="...")
    return "\n".join(lines)
