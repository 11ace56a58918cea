"""The checks of a picture against its record, and the contact sheet."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from sigmafarm import Farm, Job
from sigmafarm.picture_check import what_is_wrong
from tests.farm_hand import FarmHand


@pytest.fixture
def drawn(farm: Farm, hand: FarmHand, tmp_path: Path) -> tuple[Path, Job]:
    batch = farm.submit("a cat", defaults={"seed": 4})
    hand.work_all()
    batch.download(tmp_path)
    return tmp_path / "000000.png", next(batch.jobs())


def spoiled(path: Path, image: Image.Image, job: Job) -> list[str]:
    """What is found wrong with another picture in the place of the good one, were its SHA-256 the recorded one."""
    image.save(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return what_is_wrong(path, job.model_copy(update={"sha256": sha256}))


def test_a_good_picture_has_no_fault(drawn: tuple[Path, Job]):
    assert what_is_wrong(*drawn) == []


def test_every_fault_is_told(drawn: tuple[Path, Job]):
    path, job = drawn

    assert spoiled(path, Image.new("RGB", (32, 64)), job) == [
        "000000.png is 32x64, asked for was 64x64",
        "000000.png is one flat colour",
        "000000.png does not carry its parameters",
        "000000.png does not carry its settings as JSON",
    ]


def test_another_jobs_picture_is_found_out(drawn: tuple[Path, Job]):
    path, job = drawn
    other = job.model_copy(update={"request": job.request.model_copy(update={"seed": 5}), "sha256": "0" * 64})

    assert what_is_wrong(path, other) == [
        "000000.png has another SHA-256 than its record",
        "000000.png does not carry its parameters",
        "000000.png carries the settings of another job",
    ]


def test_what_is_no_picture_does_not_decode(drawn: tuple[Path, Job]):
    path, job = drawn
    path.write_bytes(path.read_bytes()[:200])

    assert "does not decode" in what_is_wrong(path, job)[0]
