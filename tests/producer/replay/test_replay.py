"""Pictures drawn again from what their files say: ours, AUTOMATIC1111's, and what nobody should trust."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sigmafarm import Farm
from sigmafarm.replay import read_picture
from sigmafarm.replay.replaying import compare, replay
from sigmafarm_common.errors import UnreadableInput
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.service.images import encode
from tests.command_line import Run, runner
from tests.farm_hand import Drawer, FarmHand

FOREIGN = """a (castle:1.2) on a hill
Negative prompt: fog, rain
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 77, Size: 64x72, Model: deliberate, Odd: 2"""


def png(text: str = "", own: str = "", size: tuple[int, int] = (64, 72)) -> bytes:
    texts = PngImagePlugin.PngInfo()
    for name, value in (("parameters", text), ("sigmafarm", own)):
        if value:
            texts.add_text(name, value)
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG", pnginfo=texts)
    return file.getvalue()


@pytest.fixture
def drawing(hand: FarmHand) -> Iterator[FarmHand]:
    """A hand that draws all the while in a thread."""
    with Drawer(hand):
        yield hand


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


def test_the_text_of_automatic1111_is_read_with_its_words() -> None:
    read = read_picture(png(FOREIGN))

    assert read.source == "parameters"
    assert read.settings == {
        "prompt": "a (castle:1.2) on a hill",
        "negative_prompt": "fog, rain",
        "num_inference_steps": 20,
        "sampler": "dpmpp_2m",
        "karras_sigmas": True,
        "guidance_scale": 6.5,
        "seed": 77,
        "width": 64,
        "height": 72,
        "model": "deliberate",
    }
    assert read.notes == ("'Odd' says nothing to this farm: left out",)


def test_what_is_unknown_or_out_of_range_is_left_out_and_said() -> None:
    text = "a\nSteps: 5000, Sampler: Restart, CFG scale: 7, Seed: 1, Size: 515x64"

    read = read_picture(png(text))

    assert read.settings == {"prompt": "a", "guidance_scale": 7.0, "seed": 1, "height": 64}
    assert any("sampler is none of this farm's" in note for note in read.notes)
    assert any("num_inference_steps" in note and "left out" in note for note in read.notes)
    assert any("width is '515'" in note for note in read.notes)


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_ours_is_read_whole_in_every_format(format_: str) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    said = {"prompt": "a\nb", "seed": 4, "width": 64, "height": 64, "labels": {"x": "1"}, "output_format": format_}
    request = RenderRequest.parse({**said, "model": "m"})

    read = read_picture(encode(picture, format_, request, "m", "f00"))

    assert read.source == "sigmafarm"
    assert read.settings == request.said()
    assert read.fingerprint == "f00"
    assert read.notes == ()


def test_a_picture_is_drawn_again_byte_for_byte(run: Run, farm: Farm, drawing: FarmHand, tmp_path: Path) -> None:
    batch = farm.submit(["a boat"], sweep={"steps": [5, 9]})
    batch.wait()
    first, _ = batch.jobs()
    (tmp_path / "a.png").write_bytes(farm.objects.get(first.image_key))

    ran = run("replay", "a.png", "--out", "b.png")

    assert (ran.code, ran.out) == (0, "the same, byte for byte\n")
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_a_foreign_picture_is_drawn_by_what_there_is_and_compared(run: Run, drawing: FarmHand, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(FOREIGN))

    ran = run("replay", "a.png", "--json")

    assert ran.code == 0
    assert ran.json["settings"]["sampler"] == "dpmpp_2m"
    assert ran.json["difference"]["has_same_pixels"] is False
    assert ran.json["difference"]["max_difference"] > 200
    assert any("model 'deliberate' is not on this farm" in note for note in ran.json["notes"])


def test_a_job_that_fails_is_told(farm: Farm, drawing: FarmHand) -> None:
    made = replay(farm, png("fail\nSteps: 5, Sampler: LMS, Seed: 1, Size: 64x64"))

    assert made.difference is None
    assert made.job.error_code == "render_failed"


def test_a_picture_that_is_cut_off_is_told_before_anything_is_drawn(farm: Farm, hand: FarmHand) -> None:
    with pytest.raises(UnreadableInput, match="damaged"):
        replay(farm, png(FOREIGN, size=(512, 512))[:-40])

    assert farm.batches() == []


def test_the_difference_of_pixels_is_measured() -> None:
    def flat(level: int, size: tuple[int, int] = (8, 8)) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, (level, level, level)).save(file, "PNG")
        return file.getvalue()

    assert compare(flat(10), flat(10)).has_same_bytes
    differing = compare(flat(10), flat(13))
    assert (differing.max_difference, differing.mean_difference) == (3, 3.0)
    assert not compare(flat(1), flat(1, (8, 9))).has_same_size


def _bomb() -> bytes:
    """A PNG of 20,000 x 20,000 that says so in its head and has little behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture at all",
        png()[:40],
        png(),
        png(own="[" * 100_000),
        png(own="[1, 2]"),
        png(own='"text"'),
        png(own="{"),
        _bomb(),
    ],
)
def test_what_is_no_picture_or_says_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableInput):
        read_picture(data)


def test_a_line_too_long_for_settings_is_a_prompt_and_costs_little() -> None:
    read = read_picture(png("a" * 16_000))

    assert read.settings == {"prompt": "a" * 16_000, "width": 64, "height": 72}


def test_strange_settings_in_a_picture_of_ours_are_left_out() -> None:
    own = json.dumps({"prompt": "a", "seed": "x", "os": "rm", "width": 64, "labels": [1], "guidance_scale": {"a": 1}})

    read = read_picture(png(own=own))

    assert read.settings == {"prompt": "a", "width": 64}
    assert len(read.notes) == 4
