"""Sheets by way of the API, and on the batch's page."""

from __future__ import annotations

import io

import httpx2
from PIL import Image

from sigmafarm import Farm
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key


def test_a_page_of_a_sheet_is_a_png_with_a_tag(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["a"], sweep={"steps": [5, 9]})
    hand.work_all()

    answer = http.get(f"/v1/batches/{batch.id}/sheet", params={"side_px": 64})
    again = http.get(
        f"/v1/batches/{batch.id}/sheet", params={"side_px": 64}, headers={"If-None-Match": answer.headers["etag"]}
    )
    missing = http.get(f"/v1/batches/{batch.id}/sheet", params={"page": 2})

    assert (answer.status_code, answer.headers["x-pages"]) == (200, "1")
    assert Image.open(io.BytesIO(answer.content)).format == "PNG"
    assert again.status_code == 304
    assert missing.status_code == 404


def test_a_sheet_of_another_owner_is_not_there(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["a"], owner="bob")
    _, ann = add_key(farm, "ann")

    assert http.get(f"/v1/batches/{batch.id}/sheet", headers=ann).status_code == 404


def test_the_batchs_page_shows_its_sheet(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit([f"flat {n}" for n in range(80)])

    page = http.get(f"/batches/{batch.id}", params={"view": "sheet"})

    assert page.status_code == 200
    assert f'<img src="/v1/batches/{batch.id}/sheet?page=1"' in page.text
    assert "Page 2 of 2" in page.text
