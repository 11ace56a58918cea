"""A picture that is given to the submit form fills it with its settings."""

from __future__ import annotations

import io

import httpx2
from PIL import Image, PngImagePlugin

from sigmafarm import Farm
from tests.farm_hand import FarmHand


def test_a_picture_fills_the_form(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a <b>castle</b>\nSteps: 33, Sampler: Euler a, CFG scale: 3.5, Seed: 77, Odd word: 4")
    file = io.BytesIO()
    Image.new("RGB", (64, 72)).save(file, "PNG", pnginfo=texts)

    page = http.post("/submit/picture", files={"picture": ("a.png", file.getvalue(), "image/png")})

    assert page.status_code == 200
    assert "a &lt;b&gt;castle&lt;/b&gt;" in page.text
    for value in ("33", "3.5", "77", "72"):
        assert f'value="{value}"' in page.text
    assert "&#39;Odd word&#39; says nothing to this farm" in page.text
    assert farm.batches() == []


def test_a_file_that_says_nothing_is_told_beside_its_field(http: httpx2.Client, hand: FarmHand) -> None:
    page = http.post("/submit/picture", files={"picture": ("a.png", b"\x89PNG nothing", "image/png")})

    assert page.status_code == 422
    assert 'id="picture-problem"' in page.text
