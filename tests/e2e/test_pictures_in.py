"""From a file to the picture that was drawn from it, through real processes around a simulated engine."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sigmafarm import Farm
from sigmafarm_common.check import check_farm
from tests.chaos.chaos_farm import ChaosFarm


def pixels_of(farm: Farm, job_id: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(farm.objects.get(farm.job(job_id).image_key))), np.int16)


@pytest.mark.slow
def test_pictures_go_in_and_what_was_drawn_from_them_comes_out(
    make_simulated: Callable[..., ChaosFarm], tmp_path: Path
):
    harness = make_simulated()
    harness.start_worker()
    shade = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    shade.save(tmp_path / "shade.webp", lossless=True)
    keep = Image.new("L", (64, 64), 0)
    with Farm(harness.config) as farm:
        harness.wait_for_workers(1)
        first = farm.submit(["a", "b"], init_image=tmp_path / "shade.webp", mask_image=keep)
        harness.wait_for_batch(first.id)
        chained = farm.submit([{"prompt": "c", "init_image": f"job:{first.id}-000001"}], mask_image=keep)
        harness.wait_for_batch(chained.id)

        drawn = [pixels_of(farm, f"{first.id}-00000{n}") for n in (0, 1)]
        last = pixels_of(farm, f"{chained.id}-000000")

        # The simulated engine turns the lowest bits of every picture, and leaves what is not drawn anew.
        assert [int(abs(each - np.asarray(shade, np.int16)).max()) for each in drawn] == [1, 1]
        assert int(abs(last - drawn[1]).max()) <= 1
        assert check_farm(farm.config, harness.store, farm.objects, is_deep=True).is_clean
