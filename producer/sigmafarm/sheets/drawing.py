"""Draws a page of a sheet: pictures in their places, values above and beside them, gaps with their reason.

Letters are Pillow's own: what they have no shape for shows as a box. No text is wider than its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from sigmafarm.sheets.layout import Block, Cell, Layout

#: Space around the page, between cells, and between blocks, in pixels.
MARGIN_PX, GAP_PX, BLOCK_PX = 24, 8, 22
#: Sizes of letters: of the page's title, of a block's, of values and captions.
TITLE_PX, HEAD_PX, TEXT_PX = 22, 17, 14
#: Width of what stands beside the lines, and lines of text there, above a column and below a cell.
SIDE_WIDTH_PX, SIDE_LINES, HEAD_LINES, CAPTION_LINES = 150, 5, 2, 2
PAPER, INK, FAINT = (250, 250, 248), (32, 33, 36), (112, 114, 120)
GAP_FILL, GAP_LINE = (238, 238, 235), (206, 206, 202)
_LINE = 1.3


@dataclass(frozen=True)
class _Pens:
    draw: ImageDraw.ImageDraw
    fonts: Mapping[int, ImageFont.FreeTypeFont | ImageFont.ImageFont]

    def write(
        self, at: tuple[int, int], text: str, size: int, width: int, lines: int, ink: tuple[int, int, int] = INK
    ) -> None:
        """Write text from its upper left corner, in so many lines of that width at most."""
        font = self.fonts[size]
        for n, line in enumerate(wrap(text, font, width, lines)):
            self.draw.text((at[0], at[1] + round(n * size * _LINE)), line, ink, font)


def draw_page(
    layout: Layout, page: int, pictures: Mapping[str, Image.Image], *, title: str, side_px: int, note: str = ""
) -> Image.Image:
    """Return a page, counted from 0. `pictures` are small ones by their keys; one that is missing is a gap."""
    blocks = layout.pages[page] if layout.pages else ()
    cell = (side_px, round(side_px * layout.aspect))
    head_px = round(TITLE_PX * 1.6) + (round(TEXT_PX * 1.7) if layout.common or note else 0)
    width = max([_width(block, cell[0]) for block in blocks] + [420])
    height = head_px + sum(_height(block, cell) + BLOCK_PX for block in blocks)
    sheet = Image.new("RGB", (width + 2 * MARGIN_PX, height + 2 * MARGIN_PX), PAPER)
    fonts = {size: ImageFont.load_default(size) for size in (TITLE_PX, HEAD_PX, TEXT_PX)}
    pens = _Pens(ImageDraw.Draw(sheet), fonts)
    number = f"  ({page + 1} of {len(layout.pages)})" if len(layout.pages) > 1 else ""
    pens.write((MARGIN_PX, MARGIN_PX), title + number, TITLE_PX, width, 1)
    under = ". ".join(filter(None, (layout.common, note)))
    pens.write((MARGIN_PX, MARGIN_PX + round(TITLE_PX * 1.5)), under, TEXT_PX, width, 1, FAINT)
    top = MARGIN_PX + head_px
    for block in blocks:
        _draw_block(sheet, pens, block, (MARGIN_PX, top), cell, pictures)
        top += _height(block, cell) + BLOCK_PX
    return sheet


def wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, lines: int) -> list[str]:
    """Return text in at most so many lines that fit a width, the last one with dots where more would follow."""
    words = " ".join(text.split()).split(" ")
    found: list[str] = []
    while words and words != [""] and len(found) < lines:
        line, words = _line_of(words, font, width)
        found.append(line)
    if words and words != [""] and found:
        last = found[-1]
        while last and font.getlength(last + "...") > width:
            last = last[:-1]
        found[-1] = last.rstrip() + "..."
    return found


def _line_of(words: list[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> tuple[str, list[str]]:
    """Return as many words as fit, at least a part of the first, and those that are left."""
    num = 1
    while num < len(words) and font.getlength(" ".join(words[: num + 1])) <= width:
        num += 1
    line = " ".join(words[:num])
    if num > 1 or font.getlength(line) <= width:
        return line, words[num:]
    end = max(1, next((n for n in range(len(line)) if font.getlength(line[: n + 1]) > width), len(line)))
    return line[:end], [line[end:], *words[1:]]


def _width(block: Block, cell_w: int) -> int:
    num = max((len(line) for line in block.cells), default=1)
    return (SIDE_WIDTH_PX if block.rows else 0) + num * (cell_w + GAP_PX) - GAP_PX


def _height(block: Block, cell: tuple[int, int]) -> int:
    title = round(HEAD_PX * 1.7) if block.title else 0
    across = round(TEXT_PX * 1.5) if block.across else 0
    return title + across + _values_px(block, cell[0]) + len(block.cells) * _line_px(block, cell[1]) - GAP_PX


def _values_px(block: Block, cell_w: int) -> int:
    """Return the height of the values above the columns: one line where all are short."""
    if not block.columns:
        return 0
    is_short = all(len(value) * TEXT_PX * 0.6 <= cell_w for value in block.columns)
    return round(TEXT_PX * _LINE * (1 if is_short else HEAD_LINES)) + 4


def _line_px(block: Block, cell_h: int) -> int:
    has_captions = any(cell.caption for line in block.cells for cell in line)
    return cell_h + GAP_PX + (round(TEXT_PX * _LINE * CAPTION_LINES) + 6 if has_captions else 0)


def _draw_block(
    sheet: Image.Image,
    pens: _Pens,
    block: Block,
    at: tuple[int, int],
    cell: tuple[int, int],
    pictures: Mapping[str, Image.Image],
) -> None:
    left, top = at
    first = left + (SIDE_WIDTH_PX if block.rows else 0)
    if block.title:
        pens.write((left, top), block.title, HEAD_PX, _width(block, cell[0]), 1)
        top += round(HEAD_PX * 1.7)
    if block.across:
        pens.write((first, top), block.across, TEXT_PX, _width(block, cell[0]), 1, FAINT)
        pens.write((left, top), block.down, TEXT_PX, SIDE_WIDTH_PX - GAP_PX, 1, FAINT)
        top += round(TEXT_PX * 1.5)
    for n, value in enumerate(block.columns):
        pens.write((first + n * (cell[0] + GAP_PX), top), value, TEXT_PX, cell[0], HEAD_LINES)
    top += _values_px(block, cell[0])
    for n, line in enumerate(block.cells):
        y = top + n * _line_px(block, cell[1])
        if block.rows:
            pens.write((left, y), block.rows[n], TEXT_PX, SIDE_WIDTH_PX - 2 * GAP_PX, SIDE_LINES)
        _draw_line(sheet, pens, line, (first, y), cell, pictures)


def _draw_line(
    sheet: Image.Image,
    pens: _Pens,
    line: Sequence[Cell],
    at: tuple[int, int],
    size: tuple[int, int],
    pictures: Mapping[str, Image.Image],
) -> None:
    for n, cell in enumerate(line):
        left, top = at[0] + n * (size[0] + GAP_PX), at[1]
        picture = pictures.get(cell.key)
        if picture is None:
            box = (left, top, left + size[0] - 1, top + size[1] - 1)
            pens.draw.rectangle(box, GAP_FILL, GAP_LINE)
            said = "picture missing" if cell.key else cell.gap
            pens.write((left + 8, top + size[1] // 2 - TEXT_PX), said, TEXT_PX, size[0] - 16, 2, FAINT)
        else:
            sheet.paste(picture, (left + (size[0] - picture.width) // 2, top + (size[1] - picture.height) // 2))
        if cell.num_more:
            pens.draw.rectangle((left, top, left + 34, top + 20), PAPER)
            pens.write((left + 4, top + 2), f"+{cell.num_more}", TEXT_PX, 30, 1)
        if cell.caption:
            pens.write((left, top + size[1] + 4), cell.caption, TEXT_PX, size[0], CAPTION_LINES)
