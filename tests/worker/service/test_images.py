"""Files keep the pixels and say how they were drawn, whatever the prompt holds."""

from __future__ import annotations

import io
import struct
import threading

import numpy as np
import piexif
import piexif.helper
import pytest
from PIL import Image

from sigmafarm_common.inside import Inside, ReadPrompt, Token
from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.settings import OutputFormat, RenderRequest
from sigmafarm_worker.service.images import encode, read_parameters

FORMATS = list(OutputFormat)
HOSTILE = {
    "nul": "a\x00b",
    "right to left": "abc \u202e cba",
    "emoji": "🐱‍👤 in 🌊",
    "lines": "one\ntwo\r\nNegative prompt: three\nSteps: 1",
    "quotes": "\"\\'{}<>&%",
    "ten kilobytes": "word " * 2048,
    "escapes": "\x1b[31mred\x07",
    "cyrillic": "кот",
}

#: EXIF's number of the type of UserComment.
UNDEFINED = 7


def resolved(**said) -> RenderRequest:
    settings = {"num_inference_steps": 50, "guidance_scale": 7.5, "seed": 4, "height": 512, "width": 512}
    return RenderRequest.parse({"prompt": "a castle", **settings, **said}).resolved()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    ramp = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3)
    return (ramp + np.random.default_rng(0).normal(0, 5, ramp.shape)).clip(0, 255).astype(np.uint8)


def test_png_keeps_every_pixel(pixels):
    file = encode(pixels, "png", resolved(), "sd15")

    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), pixels)


@pytest.mark.parametrize("output_format", FORMATS)
def test_each_format_is_what_it_says_and_close_to_the_pixels(output_format, pixels):
    image = Image.open(io.BytesIO(encode(pixels, output_format, resolved(), "sd15")))

    assert image.format == output_format.upper()
    assert image.size == (64, 48)
    assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 6


@pytest.mark.parametrize("output_format", FORMATS)
def test_parameters_are_written_as_a1111_writes_them(output_format, pixels):
    request = resolved(negative_prompt="blurred", karras_sigmas=True)

    found = read_parameters(encode(pixels, output_format, request, "sd15"))

    assert found.parameters == (
        "a castle\nNegative prompt: blurred\n"
        "Steps: 50, Sampler: LMS Karras, CFG scale: 7.5, Seed: 4, Size: 512x512, Model: sd15"
    )


def test_what_was_not_asked_for_is_not_written(pixels):
    found = read_parameters(encode(pixels, "png", resolved(), "sd15"))

    assert found.parameters == "a castle\nSteps: 50, Sampler: LMS, CFG scale: 7.5, Seed: 4, Size: 512x512, Model: sd15"


def test_an_order_other_than_four_is_written(pixels):
    found = read_parameters(encode(pixels, "png", resolved(lms_order=2), "sd15"))

    assert found.parameters.endswith("Model: sd15, LMS order: 2")


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_settings_come_back_exactly_whatever_the_prompt_holds(text, output_format, pixels):
    request = resolved(prompt=text, negative_prompt=text, output_format=output_format)

    found = read_parameters(encode(pixels, output_format, request, "sd15"))

    assert RenderRequest.parse(found.settings) == request.model_copy(update={"model": "sd15"})
    assert "\x00" not in found.parameters
    assert "\x1b" not in found.parameters


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_largest_prompts_that_a_request_may_have_can_be_written(output_format, pixels):
    request = resolved(prompt="🐱" * 16_384, negative_prompt="猫" * 16_384)

    found = read_parameters(encode(pixels, output_format, request, "sd15"))

    assert found.settings["seed"] == 4
    if output_format is OutputFormat.JPEG:
        assert found.settings["is_cut"]
        assert found.settings["prompt"] == "🐱" * 2500
    else:
        assert found.settings["prompt"] == request.prompt


def test_a_picture_of_somebody_else_has_no_settings():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")

    found = read_parameters(file.getvalue())

    assert (found.parameters, found.settings) == ("", {})


def test_encoding_lets_other_threads_run():
    noise = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks[0] += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    before = ticks[0]
    encode(noise, "png", resolved(), "sd15")
    counted = ticks[0] - before
    stop.set()
    ticker.join()

    # Held for the whole encoding, the lock would let the other thread count for one switch interval at most.
    assert counted > 10_000


@pytest.mark.parametrize("output_format", FORMATS)
def test_warnings_stand_beside_the_settings_and_are_none_of_them(output_format, pixels):
    told = (JobWarning(code="prompt_cut", text="the last 2 tokens … did not fit"),)

    found = read_parameters(encode(pixels, output_format, resolved(), "sd15", warnings=told))

    assert found.warnings == told
    assert RenderRequest.parse(found.settings) == resolved(model="sd15")
    assert read_parameters(encode(pixels, output_format, resolved(), "sd15")).warnings == ()


INSIDE = Inside(
    sigmas=(14.6, 0.5),
    timesteps=(999.0, 100.25),
    prompt=ReadPrompt(size=77, chunks=((Token(1, "<start>"), Token(5, "кот", 1.1), Token(2, "<end>")),)),
)


@pytest.mark.parametrize("output_format", FORMATS)
def test_what_it_was_drawn_with_stands_beside_the_settings_and_is_none_of_them(output_format, pixels):
    found = read_parameters(encode(pixels, output_format, resolved(), "sd15", inside=INSIDE))

    assert found.inside == INSIDE
    assert RenderRequest.parse(found.settings) == resolved(model="sd15")
    assert read_parameters(encode(pixels, output_format, resolved(), "sd15")).inside is None


def test_a_jpeg_keeps_its_prompts_whole_before_what_it_was_drawn_with(pixels):
    request = resolved(prompt="a" * 16_000, output_format="jpeg")
    many = INSIDE.model_copy(update={"sigmas": (14.6146,) * 1999, "timesteps": (999.0,) * 1999})

    found = read_parameters(encode(pixels, "jpeg", request, "sd15", inside=many))

    assert found.settings["prompt"] == request.prompt
    assert "is_cut" not in found.settings
    assert found.inside is None


@pytest.mark.parametrize("output_format", [OutputFormat.JPEG, OutputFormat.WEBP])
def test_the_comment_is_of_the_type_that_other_readers_know(pixels, output_format):
    data = encode(pixels, output_format, resolved(prompt="a castle"), "sd15")

    comment = piexif.load(data)["Exif"][piexif.ExifIFD.UserComment]

    assert piexif.helper.UserComment.load(comment).startswith("a castle\nSteps: 50")
    entry = struct.pack(">HHI", piexif.ExifIFD.UserComment, UNDEFINED, len(comment))
    assert data.count(entry) == 1


@pytest.mark.parametrize("output_format", [OutputFormat.JPEG, OutputFormat.WEBP])
def test_less_quality_is_a_smaller_file(output_format):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    asked = [resolved(output_quality=quality) for quality in (0, 10, None, 100)]

    sizes = [len(encode(noise, output_format, each, "sd15")) for each in asked]

    assert sizes == sorted(set(sizes))
