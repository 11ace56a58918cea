"""The text of a picture: what is written is read back, and other tools read the same, whatever the prompts hold."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sigmafarm_common.picture_text import USUAL_WORDS, as_text, parts_of, read_text, write_text
from sigmafarm_common.samplers import SAMPLERS, sampler_named
from sigmafarm_common.settings import SETTING_FIELDS, RenderRequest

#: What would lead a reader of the text astray.
PIECES = [
    "\n",
    "\r\n",
    "\r",
    "\t",
    "Steps: 3, Sampler: LMS, Seed: 1",
    "Negative prompt:",
    " Negative prompt: x",
    '"',
    ",",
]
PIECES += ["a boat", "\x00", "\x1b[31m", "\x85", "\u2028", "\u202e", "\ud800", "Size: 64x64", "\\", ": ", "кот", "🐱‍👤"]
CHARACTERS = st.text(st.characters(exclude_categories=()), max_size=20)
TEXTS = st.lists(st.sampled_from(PIECES) | CHARACTERS, max_size=6).map("".join)
SETTINGS = st.fixed_dictionaries(
    {
        "num_inference_steps": st.integers(1, 1000),
        "guidance_scale": st.floats(0, 100, allow_subnormal=False),
        "seed": st.integers(0, 2**63 - 1),
        "width": st.sampled_from([64, 512, 2048]),
        "height": st.sampled_from([64, 512, 2048]),
        "sampler": st.sampled_from([each.name for each in SAMPLERS if each.knows_karras]),
        "lms_order": st.integers(1, 4),
        "karras_sigmas": st.booleans(),
        "model": st.sampled_from(["sd15", "a.b-c_1"]),
    }
)


@given(TEXTS, TEXTS, SETTINGS)
@example("Steps: 3", "", {"width": 64, "height": 64, "num_inference_steps": 9, "guidance_scale": 5e-7, "seed": 1})
@example("a\nNegative prompt: b", "c\nNegative prompt: d\n", {"width": 64, "height": 64, "model": "m", "lms_order": 1})
def test_what_is_written_is_read_back(prompt: str, negative: str, said: dict[str, object]):
    settings = RenderRequest(prompt="").resolved(said).said() | {"prompt": prompt, "negative_prompt": negative}

    text = write_text(settings)
    read = RenderRequest.parse(read_text(text)).resolved()

    expected = settings | {"prompt": as_text(prompt), "negative_prompt": as_text(negative)}
    assert read == RenderRequest.parse(expected)
    assert text.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", text)


@given(TEXTS, TEXTS)
def test_other_tools_find_the_negative_prompt_where_it_begins(prompt: str, negative: str):
    settings = RenderRequest(prompt="").resolved({"width": 64, "height": 64}).said()
    text = write_text({**settings, "prompt": prompt, "negative_prompt": "wet " + negative})

    *lines, _ = text.split("\n")
    begins = [n for n, line in enumerate(lines) if line.strip().startswith("Negative prompt:")]

    assert begins == [as_text(prompt).count("\n") + 1]


@given(TEXTS)
def test_a_text_that_was_made_printable_stays_as_it_is(text: str):
    assert as_text(as_text(text)) == as_text(text)


@given(CHARACTERS)
def test_any_text_is_read_somehow(text: str):
    assert read_text(text) is not None


def test_a_text_of_another_program_tells_what_we_know():
    words = 'Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 5, Size: 512x768, Lora hashes: "a: 1, b: 2"'
    text = f"a cat\nNegative prompt:dogs\n{words}, Schedule type: Karras"

    assert RenderRequest.parse(read_text(text)).said() == {
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "num_inference_steps": 20,
        "sampler": "dpmpp_2m",
        "karras_sigmas": True,
        "guidance_scale": 7.0,
        "seed": 5,
        "width": 512,
        "height": 768,
    }
    assert read_text("only, some: words") == {"prompt": "only, some: words"}
    assert read_text("") == {}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({}, "LMS"),
        ({"karras_sigmas": True}, "LMS Karras"),
        ({"lms_order": 1}, "LMS"),
        ({"sampler": "euler_a"}, "Euler a"),
        ({"sampler": "dpmpp_2m", "karras_sigmas": True}, "DPM++ 2M Karras"),
    ],
)
def test_the_sampler_is_named_as_clients_know_it(said: dict[str, object], name: str):
    settings = RenderRequest(prompt="a").resolved({"width": 64, "height": 64, **said}).said()

    assert f"Sampler: {name}," in write_text(settings)
    assert sampler_named(name).items() <= settings.items()
    assert sampler_named("Restart") == {}


def test_the_words_of_settings_are_such_as_readers_know():
    words = {field.in_text for field in SETTING_FIELDS.values() if field.in_text}

    assert words | {"Sampler", "Size"} >= set(USUAL_WORDS)
    assert all(re.fullmatch(r"\w[\w \-/]+", word) for word in words)


def test_a_picture_that_started_from_another_says_how_in_automatic1111s_words():
    request = RenderRequest(prompt="a", strength=0.6, mask_blur=4, masked_padding=16, model="tiny", height=64, width=64)

    last = write_text(request.resolved().said()).splitlines()[-1]

    assert {"Denoising strength: 0.6", "Mask blur: 4", "Masked area padding: 16"} <= set(last.split(", "))
    assert read_text("a\n" + last).items() >= {"strength": "0.6", "mask_blur": "4"}.items()


def test_the_words_of_a_text_are_told_as_they_stand():
    prompt, negative, words = parts_of("a\nb\nNegative prompt: fog\nSteps: 7, Sampler: LMS, Size: 64x64")

    assert (prompt, negative) == ("a\nb", "fog")
    assert words == {"Steps": "7", "Sampler": "LMS", "Size": "64x64"}
    assert parts_of("no words") == ("no words", "", {})
