"""Requests: what is refused and in which words, and where the settings that a job leaves out come from."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from pydantic import ValidationError

from sigmafarm_common.errors import FieldError, InvalidRequest, InvalidRows, RowError, UnknownModel
from sigmafarm_common.settings import FARM_DEFAULTS, MAX_PROMPT_CHARS, RANDOM_SEED_END, RenderRequest, Settings, resolve

SIZE_RULE = "must be a multiple of 8 between 64 and 2048"


def refusal(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        RenderRequest.parse({"prompt": "a red circle", **fields})
    return caught.value


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("width", "515", f"width is '515': {SIZE_RULE}; nearest 512 or 520"),
        ("width", 515, f"width is 515: {SIZE_RULE}; nearest 512 or 520"),
        ("height", 513, f"height is 513: {SIZE_RULE}; nearest 512 or 520"),
        ("width", 8, f"width is 8: {SIZE_RULE}; nearest 64"),
        ("width", -515, f"width is -515: {SIZE_RULE}; nearest 64"),
        ("height", 4096, f"height is 4096: {SIZE_RULE}; nearest 2048"),
        ("height", 2047, f"height is 2047: {SIZE_RULE}; nearest 2040 or 2048"),
        ("width", "wide", "width is 'wide': must be a whole number"),
        ("width", 512.5, "width is 512.5: must be a whole number"),
        ("num_inference_steps", 0, "num_inference_steps is 0: must be at least 1"),
        ("num_inference_steps", 1001, "num_inference_steps is 1001: must be at most 1000"),
        ("num_inference_steps", "many", "num_inference_steps is 'many': must be a whole number"),
        ("guidance_scale", math.nan, "guidance_scale is nan: must be a finite number"),
        ("guidance_scale", math.inf, "guidance_scale is inf: must be a finite number"),
        ("guidance_scale", -1, "guidance_scale is -1: must be at least 0"),
        ("guidance_scale", 101, "guidance_scale is 101: must be at most 100"),
        ("guidance_scale", "strong", "guidance_scale is 'strong': must be a number"),
        ("seed", -2, "seed is -2: must be at least -1"),
        ("seed", 2**63, f"seed is {2**63}: must be below {2**63}"),
        ("seed", [1], "seed is [1]: must be a whole number"),
        ("lms_order", 5, "lms_order is 5: must be at most 4"),
        ("karras_sigmas", "maybe", "karras_sigmas is 'maybe': must be true or false"),
        ("output_format", "gif", "output_format is 'gif': must be 'png', 'jpeg' or 'webp'"),
        ("model", "a/b", "model is 'a/b': must be letters, digits, dot, dash or underscore, 64 at most"),
        ("model", "", "model is '': must be letters, digits, dot, dash or underscore, 64 at most"),
        ("negative_prompt", 7, "negative_prompt is 7: must be a text"),
        ("prompt", None, "prompt is None: must be a text"),
        ("prompt", "\ud800", "prompt is '\\ud800': must be valid Unicode text"),
        ("strength", 1.5, "strength is 1.5: must be at most 1"),
        ("strength", 0, "strength is 0: must be at least 0.001"),
        ("start_step", -1, "start_step is -1: must be at least 0"),
        ("lms_start", "wrong", "lms_start is 'wrong': must be 'exact' or 'diffusers'"),
        ("image_index", 10_000, "image_index is 10000: must be below 10000"),
        ("inpainting_fill", 4, "inpainting_fill is 4: must be 'fill', 'original', 'latent_noise' or 'latent_nothing'"),
        ("colour", 50, "colour is no setting of a job: leave it out, or see the README for the names"),
        ("size", "1x1", "size is no setting of a job: did you mean width and height?"),
        ("stepz", 50, "stepz is no setting of a job: did you mean num_inference_steps?"),
        ("style", "oil", "style is no setting of a job: leave it out, or see the README for the names"),
        ("steps", 50, "steps is no setting of a job: did you mean num_inference_steps?"),
        ("cfgScale", 7, "cfgScale is no setting of a job: did you mean guidance_scale?"),
        ("negative", "a", "negative is no setting of a job: did you mean negative_prompt?"),
        ("seed", True, "seed is 'true': must be a whole number"),
        ("guidance_scale", True, "guidance_scale is 'true': must be a number"),
        ("guidance_scale", "7,5", "guidance_scale is '7,5': must be a number, with a point: 7.5"),
        (
            "seed",
            "1.23457E+11",
            "seed is '1.23457E+11': must be a whole number, with all its digits: a spreadsheet "
            "shortens long ones unless the column is text",
        ),
        ("seed", "1,234", "seed is '1,234': must be a whole number, with nothing between its digits"),
        ("seed", "0x1f", "seed is '0x1f': must be a whole number: 31"),
    ],
)
def test_a_bad_field_is_refused_with_its_value_and_the_cure(field: str, value: Any, said: str):
    error = refusal(**{field: value})

    assert str(error) == said
    assert error.fields == (FieldError(field, said),)
    assert (error.http_status, error.exit_code, error.retryable) == (422, 2, False)


def test_a_request_without_a_prompt_is_asked_for_one():
    with pytest.raises(InvalidRequest, match=r"^prompt is missing: give one$"):
        RenderRequest.parse({})


def test_a_prompt_that_is_too_long_is_not_repeated():
    error = refusal(prompt="x" * (MAX_PROMPT_CHARS + 1))

    assert str(error) == f"prompt is '{'x' * 59}...: must have at most {MAX_PROMPT_CHARS} characters"


def test_control_characters_of_a_bad_value_do_not_reach_the_terminal():
    assert "\x1b" not in str(refusal(width="\x1b[2J"))


def test_all_bad_fields_are_named_together():
    error = refusal(width=515, num_inference_steps=0, colour="red")

    assert [f.field for f in error.fields] == ["num_inference_steps", "width", "colour"]
    assert str(error) == "; ".join(f.message for f in error.fields)


def test_the_largest_and_smallest_values_are_taken():
    for fields in (
        {"width": 64, "height": 2048, "num_inference_steps": 1, "guidance_scale": 0, "seed": 0, "lms_order": 1},
        {"width": 2048, "height": 64, "num_inference_steps": 1000, "guidance_scale": 100, "seed": 2**63 - 1},
        {"prompt": "x" * MAX_PROMPT_CHARS, "model": "a" * 64, "lms_order": 4},
        {"prompt": ""},
    ):
        RenderRequest.parse({"prompt": "a", **fields})


def test_bad_rows_are_reported_together_with_their_line_numbers():
    rows = [RowError(n, refusal(width=515, lms_order=9).fields) for n in range(1, 31)]

    error = InvalidRows(rows, num_rows=40)

    said = str(error).splitlines()
    assert said[0] == "30 of 40 rows are bad, nothing was submitted (mend them, or leave them out by skip_bad):"
    assert said[1].strip().startswith("row 1: ")
    assert "width is 515" in said[1]
    assert "lms_order is 9: must be at most 4" in said[1]
    assert said[-1].strip() == "... and 10 more bad rows"
    assert len(error.fields) == 60
    assert {f.field for f in error.fields[:2]} == {"1.width", "1.lms_order"}


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (["sd15", "bundled"], "model is 'sd2': this farm knows bundled, sd15; start a worker that serves it"),
        ([], "model is 'sd2': this farm knows no model yet; start a worker that serves it"),
    ],
)
def test_an_unknown_model_is_refused_with_those_that_are_known(known: list[str], said: str):
    error = UnknownModel("sd2", known)

    assert str(error).startswith(said)
    assert error.fields == (FieldError("model", str(error)),)


def test_a_request_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        RenderRequest(prompt="a").width = 64  # pyright: ignore[reportAttributeAccessIssue]


def test_a_setting_is_the_jobs_then_each_default_in_turn_then_the_farms():
    batch = {"num_inference_steps": 20, "guidance_scale": 3.0, "lms_order": None}
    model = {"guidance_scale": 9.0, "height": 64, "width": 64, "lms_order": 2}

    resolved = RenderRequest(prompt="a", num_inference_steps=10).resolved(batch, model)

    said = (resolved.num_inference_steps, resolved.guidance_scale, resolved.height, resolved.lms_order)
    assert said == (10, 3.0, 64, 2)
    assert resolved.karras_sigmas is FARM_DEFAULTS["karras_sigmas"]
    assert resolved.negative_prompt == ""


def test_a_random_seed_is_drawn_and_recorded_and_a_named_one_kept():
    seeds = {RenderRequest(prompt="a").resolved().seed for _ in range(20)}

    assert len(seeds) > 1
    assert all(seed is not None and 0 <= seed < RANDOM_SEED_END for seed in seeds)
    assert RenderRequest(prompt="a", seed=0).resolved({"seed": 7}).seed == 0
    assert RenderRequest(prompt="a").resolved({"seed": 7}).seed == 7


def test_a_size_that_nobody_names_stays_open():
    assert RenderRequest(prompt="a").resolved().height is None


def test_the_json_of_a_request_gives_the_request_again():
    asked = RenderRequest(prompt='caf\u00e9 "\n\u2603', seed=2**63 - 1, guidance_scale=7.5).resolved({"width": 64})

    assert RenderRequest.model_validate_json(asked.to_json()) == asked
    assert '"height"' not in asked.to_json()


def test_cost_is_steps_times_megapixels():
    assert RenderRequest(prompt="a", num_inference_steps=10, height=1000, width=1000).cost == 10.0
    assert RenderRequest(prompt="a").cost == pytest.approx(50 * 512 * 512 / 1e6)


def test_settings_say_only_what_was_said():
    assert Settings.parse({"width": 64, "output_format": "webp"}).said() == {"width": 64, "output_format": "webp"}
    with pytest.raises(InvalidRequest, match=re.escape("prompt is no setting of a job: leave it out")):
        Settings.parse({"prompt": "a"})


@pytest.mark.parametrize(
    ("row", "defaults", "karras"),
    [
        ({"sampler": "DDIM"}, {"karras_sigmas": True}, False),
        ({"karras_sigmas": True}, {"sampler": "ddim"}, False),
        ({"sampler": "dpmpp_2m"}, {"karras_sigmas": True}, True),
        ({}, {"karras_sigmas": True}, True),
    ],
)
def test_karras_sigmas_that_were_said_without_the_sampler_yield_to_one_that_has_none(
    row: dict[str, Any], defaults: dict[str, Any], karras: bool
):
    assert RenderRequest.parse({"prompt": "a", **row}).resolved(defaults).karras_sigmas is karras
    assert resolve({"prompt": "a", **row}, defaults)["karras_sigmas"] is karras


def test_a_sampler_and_karras_sigmas_that_do_not_go_together_are_refused():
    assert str(refusal(sampler="ddim", karras_sigmas=True)).startswith("karras_sigmas is True: ")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"strength": 0.5, "start_step": 3}, "start_step is 3: it says what strength says: give one of them"),
        ({"num_inference_steps": 5, "start_step": 5}, "start_step is 5: must be 0 to 4, for there are 5 steps"),
        (
            {"num_inference_steps": 5, "strength": 0.1},
            "strength is 0.1: of 5 steps it leaves none: must be at least 0.2",
        ),
        ({"image_index": 3, "image_count": 3}, "image_count is 3: must be more than image_index, 3"),
    ],
)
def test_settings_of_pictures_that_do_not_go_together_are_refused(said: dict[str, Any], sentence: str):
    assert [field.message for field in refusal(**said).fields] == [sentence]


def test_strength_and_start_step_drive_each_other_out_and_the_nearer_one_counts():
    job = RenderRequest(prompt="a", start_step=3)

    assert resolve(job.said(), {"strength": 0.5}).get("strength") is None
    assert resolve({}, {"strength": 0.5}, {"start_step": 3}).get("start_step") is None
    assert resolve({}, {"start_step": 3}, {"strength": 0.5})["start_step"] == 3


@pytest.mark.parametrize(
    ("said", "num_calls"),
    [
        ({"strength": 0.8}, 40),
        ({"start_step": 10}, 40),
        ({"strength": 0.29, "num_inference_steps": 100}, 28),  # as diffusers rounds it
        ({"sampler": "heun", "num_inference_steps": 10, "start_step": 6}, 7),
        ({"sampler": "pndm", "num_inference_steps": 10, "start_step": 9}, 1),
        ({"sampler": "pndm", "num_inference_steps": 10, "start_step": 9, "lms_start": "diffusers"}, 2),
    ],
)
def test_calls_and_cost_count_from_the_start_step_on(said: dict[str, Any], num_calls: int):
    request = RenderRequest.parse({"prompt": "a", **said})

    assert request.num_calls == num_calls
    assert request.cost == num_calls * 512 * 512 / 1e6


@pytest.mark.parametrize(
    "name", ["DPM++ 2M Karras", "dpm++ 2m karras", "k_dpmpp_2m_ka", "DPMSolverMultistepScheduler Karras"]
)
def test_a_samplers_name_may_say_karras_sigmas(name: str):
    both = {"sampler": "dpmpp_2m", "karras_sigmas": True}

    assert Settings.parse({"sampler": name}).said() == both
    assert RenderRequest(prompt="a", sampler=name).said() == {"prompt": "a", **both}  # pyright: ignore[reportArgumentType]
    assert Settings.model_validate_json(f'{{"sampler": "{name}", "karras_sigmas": true}}').said() == both
    assert both.items() <= resolve({"prompt": "a", "sampler": name}, {"karras_sigmas": False}).items()
    assert both.items() <= resolve({"prompt": "a"}, {"sampler": name}).items()


def test_a_name_that_says_karras_sigmas_and_a_setting_that_does_not_are_refused():
    cure = "its name says Karras sigmas, karras_sigmas does not: leave one of them out"
    assert str(refusal(sampler="LMS Karras", karras_sigmas="false")) == f"sampler is 'LMS Karras': {cure}"
    assert str(refusal(sampler="Euler a Karras")) == "karras_sigmas is True: sampler euler_a has none: leave it out"
    assert str(refusal(sampler="Nobody Karras")).startswith("sampler is 'Nobody Karras': must be 'lms', ")
