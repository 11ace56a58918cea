"""Prompt files: what each format gives, and what a bad line says."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from sigmafarm import Farm, InvalidRows, UnreadableInput
from sigmafarm.inputs import InputFormat, read_rows
from sigmafarm.submission import InputRow
from tests.farm_hand import FarmHand


def rows_of(tmp_path: Path, name: str, content: str | bytes) -> list[InputRow]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(str(path)))


def error_of(row: InputRow) -> str:
    return "; ".join(e.message for e in row.errors)


def test_a_text_file_is_one_prompt_a_line_and_blank_lines_are_nothing(tmp_path: Path):
    rows = rows_of(tmp_path, "p.txt", "a cat\n\n   \n  a dog \r\nlast")

    assert [(r.number, r.data["prompt"]) for r in rows] == [(1, "a cat"), (4, "a dog"), (5, "last")]


def test_a_byte_order_mark_is_no_part_of_the_prompt(tmp_path: Path):
    for name, content in (("p.txt", "a cat"), ("p.csv", "prompt\na cat"), ("p.jsonl", '{"prompt": "a cat"}')):
        (row,) = rows_of(tmp_path, name, b"\xef\xbb\xbf" + content.encode())
        assert row.data == {"prompt": "a cat"}


def test_json_lines_carry_settings_or_are_a_prompt(tmp_path: Path):
    rows = rows_of(tmp_path, "p.jsonl", '{"prompt": "a", "seed": 4}\n\n"just a prompt"\n')

    assert [(r.number, r.data) for r in rows] == [(1, {"prompt": "a", "seed": 4}), (3, {"prompt": "just a prompt"})]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": }', "the line is no JSON (Expecting value at column 12): write one object a line"),
        ('["a"]', "the line is a list: write one object a line"),
        ("7", "the line is a number: write one object a line"),
        ("null", "the line is a null"),
    ],
)
def test_a_bad_json_line_says_what_it_is(tmp_path: Path, line: str, said: str):
    rows = rows_of(tmp_path, "p.jsonl", f'{{"prompt": "a"}}\n{line}\n{{"prompt": "b"}}\n')

    assert said in error_of(rows[1])
    assert [r.number for r in rows] == [1, 2, 3]


def test_a_csv_gives_what_its_cells_say(tmp_path: Path):
    rows = rows_of(tmp_path, "p.csv", 'prompt,seed,width\n"a cat, sitting",4,\n"two\nlines",,512\n\nlast,1,2\n')

    assert [(r.number, r.data) for r in rows] == [
        (2, {"prompt": "a cat, sitting", "seed": "4"}),
        (3, {"prompt": "two\nlines", "width": "512"}),
        (6, {"prompt": "last", "seed": "1", "width": "2"}),
    ]


def test_row_17_of_a_csv_short_of_a_column_is_told_by_its_number(tmp_path: Path):
    lines = ["prompt,seed,num_inference_steps"] + [f"prompt {n},{n},20" for n in range(2, 30)]
    lines[16] = "prompt 17,17"

    rows = rows_of(tmp_path, "p.csv", "\n".join(lines))

    (bad,) = [r for r in rows if r.errors]
    assert bad.number == 17
    assert error_of(bad) == ("the row has 2 of 3 columns: num_inference_steps missing; add an empty cell for each")


def test_a_csv_row_with_too_many_columns_names_the_likely_cause(tmp_path: Path):
    (row,) = rows_of(tmp_path, "p.csv", "prompt,seed\na cat, sitting,4\n")

    assert "the row has 3 columns, the header 2: quote a prompt with commas ('4' is left over)" in error_of(row)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.csv", "promt,seed\na,1", "p.csv line 1: column 'promt' is no setting of a job: did you mean prompt?"),
        ("p.csv", "prompt,steps\na,1", "column 'steps' is no setting of a job: did you mean num_inference_steps?"),
        ("p.csv", "prompt,cfg_scale\na,1", "column 'cfg_scale' is no setting of a job: did you mean guidance_scale?"),
        ("p.csv", "prompt,colour\na,1", "column 'colour' is no setting of a job: columns are negative_prompt"),
        ("p.csv", "prompt;seed\na;1", "column 'prompt;seed' is no setting of a job: did you mean prompt?"),
        ("p.csv", "seed\n1", "there is no column prompt among seed: add it"),
        ("p.csv", "prompt,seed,seed\na,1,2", "column 'seed' stands there twice"),
        ("p.csv", "", "is empty: a CSV begins with a header"),
        ("p.csv", 'prompt\n"open', "line 2 is no CSV (unexpected end of data): check its quotes"),
        ("p.txt", b"fine\ncaf\xe9\n", "line 2 is no UTF-8 (byte 4 is 0xe9): save the file as UTF-8"),
        ("p.txt", "a cat".encode("utf-16"), "line 1 is no UTF-8"),
        ("p.jsonl", b'{"prompt": "caf\xe9"}', "line 1 is no UTF-8"),
    ],
)
def test_a_file_that_does_not_fit_as_a_whole_says_where_and_why(
    tmp_path: Path, name: str, content: str | bytes, said: str
):
    with pytest.raises(UnreadableInput) as caught:
        rows_of(tmp_path, name, content)

    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_or_a_folder_is_told_before_anything_is_read(tmp_path: Path):
    with pytest.raises(UnreadableInput, match=r"none.txt cannot be read: No such file or directory; check the path"):
        read_rows(str(tmp_path / "none.txt"))
    with pytest.raises(UnreadableInput, match="cannot be read: it is a folder"):
        read_rows(str(tmp_path))


def test_stdin_is_text_unless_said_otherwise():
    (row,) = read_rows("-", stdin=io.BytesIO(b"a cat\n"))
    assert row.data == {"prompt": "a cat"}

    (row,) = read_rows("-", InputFormat.CSV, stdin=io.BytesIO(b"prompt,seed\na cat,1\n"))
    assert row.data == {"prompt": "a cat", "seed": "1"}


def test_bad_lines_of_every_kind_are_told_together_by_line(tmp_path: Path, farm: Farm, hand: FarmHand):
    path = tmp_path / "p.csv"
    path.write_text("prompt,width,seed\na,64,1\nb,515,2\nc,64\n,64,4\nd,64,x\n")

    with pytest.raises(InvalidRows) as caught:
        farm.submit(read_rows(str(path)))

    assert [r.row for r in caught.value.rows] == [3, 4, 5, 6]
    assert "row 5: prompt is missing: give one" in str(caught.value)
    assert "row 6: seed is 'x': must be a whole number" in str(caught.value)


def test_a_csv_of_numbers_and_truths_becomes_typed_settings(tmp_path: Path, farm: Farm, hand: FarmHand):
    path = tmp_path / "p.csv"
    path.write_text("prompt,width,guidance_scale,karras_sigmas,output_format\na,72,2.5,true,webp\n")

    (job,) = farm.submit(read_rows(str(path))).jobs()

    said = job.request
    assert (said.width, said.guidance_scale, said.karras_sigmas, said.output_format) == (72, 2.5, True, "webp")


def test_a_file_that_breaks_off_midway_submits_nothing(tmp_path: Path, farm: Farm, hand: FarmHand):
    path = tmp_path / "p.txt"
    path.write_bytes(b"fine\n" * 900 + b"\xff\n")

    with pytest.raises(UnreadableInput, match="line 901 is no UTF-8"):
        farm.submit(read_rows(str(path)))

    assert farm.batches() == []
