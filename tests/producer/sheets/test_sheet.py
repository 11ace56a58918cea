"""Sheets of a real farm's batches: pictures in their places, gaps, files and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageFont

from sigmafarm import Farm, InvalidRequest, NotFound
from sigmafarm.sheets.drawing import PAPER, wrap
from tests.command_line import Run, runner
from tests.farm_hand import FarmHand


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


def num_dark(page: Image.Image) -> int:
    """Count the pixels of pictures: those of the hand are gradients, and begin black."""
    return sum(page.convert("L").histogram()[:20])


def test_a_page_holds_the_pictures_that_there_are(farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["flat a", "fail b"], sweep={"steps": [5, 9]})
    before = num_dark(batch.sheet(side_px=64).draw())
    hand.work_all()

    page = batch.sheet(side_px=64).draw()

    assert page.getpixel((0, 0)) == PAPER
    assert num_dark(page) - before >= 2 * 64 * 64 * 0.9
    assert num_dark(page) - before <= 2 * 64 * 64 * 1.2


def test_a_lost_picture_is_a_gap_and_no_error(farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["flat a", "flat b"])
    hand.work_all()
    whole = num_dark(batch.sheet(side_px=64).draw())
    farm.objects.delete(next(batch.jobs()).image_key)

    assert num_dark(batch.sheet(side_px=64).draw()) < whole - 64 * 64 * 0.8


def test_the_command_writes_every_page(run: Run, farm: Farm, hand: FarmHand, tmp_path: Path) -> None:
    batch = farm.submit([f"flat {n}" for n in range(80)], name="many \x1b[31m names")

    ran = run("sheet", batch.id, "--out", "s.png", "--side", 48, "--json")
    one = run("sheet", batch.id, "--out", "t.webp", "--side", 48, "--pages", 1)

    assert ran.json == {"files": ["s.png", "s-2.png"], "num_pages": 2}
    with Image.open(tmp_path / "s-2.png") as page:
        assert page.width > 6 * 48
    assert one.out == "t.webp\n"
    assert "1 more pages" in one.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--out", "x.gif"], "must end in .png"),
        (["--side", "9"], "must be between 48 and 256"),
        (["--out", "no/x.png"], "cannot be written"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_said(run: Run, farm: Farm, hand: FarmHand, flags: list[str], said: str) -> None:
    batch = farm.submit(["a"])

    ran = run("sheet", batch.id, *flags)

    assert ran.code == 2
    assert said in ran.err


def test_a_page_that_is_not_there_is_told(farm: Farm, hand: FarmHand) -> None:
    sheet = farm.submit(["a"]).sheet()

    with pytest.raises(NotFound, match="has no page 2: it has 1"):
        sheet.draw(2)
    with pytest.raises(InvalidRequest, match="side_px is 4"):
        farm.submit(["a"]).sheet(side_px=4)


def test_text_is_never_wider_than_its_place() -> None:
    font = ImageFont.load_default(14)

    for text in (
        "short",
        "several words that need some lines to stand in",
        "x" * 500,
        "é" * 90 + " 漢字 " * 40,
        "",
        " \n ",
    ):
        lines = wrap(text, font, 120, 3)
        assert len(lines) <= 3
        assert all(font.getlength(line) <= 120 for line in lines)
    assert wrap("a b", font, 120, 2) == ["a b"]
    assert wrap("word " * 100, font, 120, 2)[1].endswith("...")
