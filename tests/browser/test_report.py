"""The report's page, as it lies on somebody's disk: on a phone it is no wider than that, and breaks no word."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from sigmafarm import Farm
from tests.farm_hand import FarmHand

#: What is said in each cell, and on how many lines.
NUM_LINES = """cells => cells.map(cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return [cell.innerText, range.getClientRects().length];
})"""


@pytest.mark.parametrize("width", [320, 390, 1000])
def test_a_report_fits_its_window_and_breaks_no_head(
    page: Page, farm: Farm, hand: FarmHand, tmp_path: Path, width: int
):
    batch = farm.submit([{"prompt": "fail a", "id": f"A{n}", "seed": 2**32 - 1 - n} for n in range(4)] + ["b"])
    hand.work_all()
    (tmp_path / "report.html").write_text(batch.report().html())

    page.set_viewport_size({"width": width, "height": 700})
    page.goto(f"file://{tmp_path}/report.html")

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    lines = page.locator("th:visible").evaluate_all(NUM_LINES)
    assert not [text for text, num in lines if " " not in text and num > 1], "a word on two lines"
