"""The submit form as data: its rows, their number, and its errors by field."""

from __future__ import annotations

import pytest

from sigmafarm.http.dashboard.submission_form import (
    KEPT_FILE_BYTES,
    SubmitForm,
    errors_of,
    form_of,
    lost_file,
    merged,
)
from sigmafarm_common.errors import FieldError, InvalidRequest, InvalidRows
from sigmafarm_common.records import Job
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState


def test_rows_are_counted_in_every_format_without_being_made() -> None:
    text = SubmitForm({"prompts": "{a|b} {c|d}\n\nplain"})
    json_lines = SubmitForm({"prompts": '{"prompt": "{a|b}", "seed": 1}\n"c"', "format": "jsonl"})
    file = SubmitForm(file_name="x.csv", file=b"prompt,seed\n{a|b},7\n")
    swept = SubmitForm({"prompts": "{a|b}", "sweep": "steps=5,10,20\nsampler=lms,euler"})

    assert [form.count(None, 100) for form in (text, json_lines, file, swept)] == [5, 3, 2, 12]


def test_without_alternatives_braces_are_text() -> None:
    form = SubmitForm({"prompts": r"{a|b} \{", "draws": "7"}, has_alternatives=False)

    assert form.count(None, 100) == 1
    assert not form.options().alternatives


def test_counting_ends_where_it_is_too_much() -> None:
    assert SubmitForm({"prompts": "a\nb\nc\nd"}).count(None, 2) == 3


def test_a_group_that_cannot_be_read_is_told_with_its_line() -> None:
    with pytest.raises(InvalidRows) as raised:
        SubmitForm({"prompts": "fine\n{a|b"}).count(None, 10)

    assert errors_of(raised.value).rows[0].startswith("row 2: prompt opens alternatives")


def test_a_sweep_that_cannot_be_read_stands_beside_its_field() -> None:
    with pytest.raises(InvalidRequest) as raised:
        SubmitForm({"prompts": "a", "sweep": "steps=5\nwith=1"}).options()

    assert errors_of(raised.value).fields["sweep"].startswith("sweep names 'with', which is no setting of a job")


def test_options_tell_all_that_is_wrong_by_field() -> None:
    with pytest.raises(InvalidRequest) as raised:
        SubmitForm({"width": "515", "num_inference_steps": "0", "repeat": "x", "name": " "}).options()

    fields = errors_of(raised.value).fields
    assert set(fields) == {"width", "num_inference_steps", "repeat"}
    assert fields["num_inference_steps"] == "Steps is '0': must be at least 1", "the form's word, and not the API's"
    assert fields["width"].startswith("Width is '515': must be a multiple of 8")


def test_errors_are_merged_and_strange_ones_stand_above() -> None:
    first = errors_of(InvalidRequest([FieldError("width", "w"), FieldError("prompt", "p"), FieldError("other", "o")]))

    assert first.fields == {"width": "w", "prompts": "p"}
    assert first.general == "o"
    assert merged(first, errors_of(InvalidRequest([FieldError("seed", "s")]))).fields == {
        "width": "w",
        "prompts": "p",
        "seed": "s",
    }


def test_a_small_file_comes_back_as_text_and_a_large_one_is_asked_for_again() -> None:
    small, large = (
        SubmitForm(file_name="x.jsonl", file=b'"a"'),
        SubmitForm(file_name="x.txt", file=b"a" * (KEPT_FILE_BYTES + 1)),
    )

    assert (small.kept().value("prompts"), small.kept().value("format")) == ('"a"', "jsonl")
    assert not lost_file(small)
    assert "choose it again" in lost_file(large)
    assert large.kept().value("prompts") == ""


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("p.txt", "café".encode("latin-1")),
        ("p.txt", b"a\0b"),
        ("p.png", b"\x89PNG\r\n\x1a\n"),
        ("p.md", b"# a\n"),
    ],
)
def test_a_file_that_is_no_list_of_prompts_does_not_come_back_as_one(name: str, file: bytes) -> None:
    form = SubmitForm({"prompts": "a"}, file_name=name, file=file)

    assert form.kept().value("prompts") == "a"
    assert lost_file(form) == f"'{name}' does not come back with the form: choose one that can be read"


@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16"])
def test_a_file_comes_back_as_the_text_that_it_is(code: str) -> None:
    form = SubmitForm(file_name="p.csv", file="prompt,seed\r\ncafé,x\r\n".encode(code))

    assert form.kept().value("prompts") == "prompt,seed\ncafé,x\n"
    assert (form.kept().value("format"), lost_file(form)) == ("csv", "")


@pytest.mark.parametrize(
    "prompt",
    [
        "a boat",
        "two\nlines",
        " spaces ",
        "{a|b} \\{",
        "<b>",
        "",
        "a\u2028b",
        "a\0b",
        "--steps 5",
        "Negative prompt: x",
        "[",
    ],
)
def test_the_form_of_a_job_draws_its_very_prompt(prompt: str) -> None:
    job = Job(
        id="b-000000",
        batch_id="b",
        row=0,
        state=JobState.FAILED,
        owner="o",
        model="m",
        priority=0,
        step=0,
        num_steps=9,
        request=RenderRequest(prompt=prompt, seed=4, karras_sigmas=False),
        fence=1,
        attempts=1,
        losses=0,
    )

    form = form_of(job)

    rows = [row if isinstance(row, str) else row.data["prompt"] for row in form.rows()]  # type: ignore[union-attr]
    assert rows == [prompt]
    assert form.options().seed == 4
    assert form.options().karras_sigmas is False
