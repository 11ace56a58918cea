"""Prompt files: what each format gives, and what a bad line says."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from sigmafarm import Farm, InvalidRows, UnreadableInput
from sigmafarm.inputs import InputFormat, parse_rows, read_rows
from sigmafarm.items import InputRow
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
        ('{"prompt": ', "the line is no JSON (Expecting value at column 11): write one object a line"),
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
        (
            "p.csv",
            "prompt,colour\na,1",
            "keep=colour keeps it with the jobs, and so does the name x_colour; else leave it out, or give it one of",
        ),
        (
            "p.csv",
            "name,prompt\nx,a",
            "p.csv line 1: column 'name' is no setting of a job: keep=name keeps it with the jobs",
        ),
        ("p.csv", "id,caption\nA7,a", "column 'caption' is no setting of a job: did you mean prompt?"),
        ("p.csv", "id,size,prompt\nA7,1x1,a", "column 'size' is no setting of a job: did you mean width and height?"),
        (
            "p.csv",
            "prompt,split,Steps,cfg_scale\na,b,1,2",
            "line 1: columns 'split', 'Steps', 'cfg_scale' are no settings of a job: did you mean "
            "num_inference_steps by 'Steps', guidance_scale by 'cfg_scale'? Else keep=split,steps,cfg_scale keeps them "
            "with the jobs, and so do names with x_ before them",
        ),
        (
            "p.csv",
            "prompt,split,lang\na,b,c",
            "columns 'split', 'lang' are no settings of a job: keep=split,lang keeps",
        ),
        ("p.csv", "one,two\na,b", "columns 'one', 'two' are no settings of a job: a table begins with a header"),
        ("p.csv", "prompt,cfgScale\na,1", "column 'cfgScale' is no setting of a job: did you mean guidance_scale?"),
        (
            "p.csv",
            "a cat\na dog\n",
            "'a cat' is no setting of a job: a table begins with a header, such as prompt,seed",
        ),
        (
            "p.csv",
            "prompt|seed\na|1\n",
            "no setting of a job: columns are parted by commas, semicolons or tabs, as sep=",
        ),
        (
            "p.csv",
            "sep=,\nprompt;seed\na;1\n",
            "p.csv line 2: column 'prompt;seed' is no setting of a job: columns are ",
        ),
        (
            "p.csv",
            ",prompt\n0,a\n",
            "line 2: column 1 has no name, and '0' stands in it: name it in the header, or leave",
        ),
        (
            "p.csv",
            'prompt,seed\na,1\n"b,2\nc,3\n',
            "p.csv line 3 is no CSV (unexpected end of data at line 4): check its",
        ),
        (
            "p.csv",
            'prompt\na\n"b\n"c"\n',
            "p.csv line 3 is no CSV (',' expected after '\"' at line 4): check its quotes",
        ),
        ("p.csv", 'prompt\na\n"' + "b\n" * 70_000, "p.csv line 3 is no CSV (field larger than field limit"),
        ("p.csv", "seed\n1", "there is no column prompt among seed: add it"),
        ("p.csv", "prompt,seed,seed\na,1,2", "column 'seed' stands there twice"),
        ("p.csv", "", "is empty: a CSV begins with a header"),
        ("p.csv", 'prompt\n"open', "line 2 is no CSV (unexpected end of data): check its quotes"),
        ("p.txt", b"fine\ncaf\xe9\n", "line 2 is no UTF-8 (byte 4 is 0xe9): save the file as UTF-8"),
        ("p.txt", "a cat".encode("utf-16-le"), "line 1 is no text (byte 2 is NUL): save the file as UTF-8"),
        ("p.txt", b"fine\na\x00b\n", "line 2 is no text (byte 2 is NUL)"),
        ("p.csv", b"prompt\n\x00", "line 2 is no text (byte 1 is NUL)"),
        ("p.txt", b"\xff\xfea\x00\x00\xd8a\x00", "begins as UTF-16 and is none"),
        ("p.csv", "sep=|\nprompt|seed\na|1", "says sep='|': must be a comma, a semicolon or a tab"),
        ("p.json", '{"prompt": "a"}', "is an object: write an array of texts or objects"),
        (
            "p.json",
            '["a", ]',
            "is no JSON (Expecting value at column 7): write an array of texts or objects, in double q",
        ),
        (
            "p.json",
            '{"prompt": "a"}\n{"prompt": "b"}',
            "(Extra data at line 2, column 1): write an array of texts or objects, or say --format jsonl where each l",
        ),
        ("p.json", '["a\tb"]', "is no JSON (Invalid control character at column 4): "),
        ("p.json", "[" * 100_000, "is no JSON (it is nested too deep): "),
        ("p.json", "[" + "9" * 5000 + "]", "is no JSON (a number in it has thousands of digits): "),
        ("p.jsonl", '[\n"a",\n"b"\n]', "p.jsonl line 1 is '[': say --format json, or write one object a line"),
        ("p.jsonl", '\n{\n"prompt": "a"\n}', "p.jsonl line 2 is '{': say --format json, or"),
        ("p.yaml", "- a\n", "p.yaml is YAML: prompts come as text, CSV, TSV, JSON or JSON lines; save it so, or say"),
        ("p.md", "# a\n", "p.md is Markdown: prompts come as text"),
        ("p.xlsx", b"PK\x03\x04", "p.xlsx is a spreadsheet: prompts come as text"),
        ("p.txt", "prompt,seed\na,1\n", "looks like csv and not like a prompt: say --format csv, or --format text"),
        ("p.txt", "Prompt\tSeed\na\t1\n", "looks like csv"),
        ("p.txt", "prompt\na\n", "looks like csv"),
        ("p.txt", '["a",\n"b"]\n', "looks like json and"),
        ("p.txt", "[\n", "looks like json and"),
        ("p.txt", '{"prompt": "a"}\n', "looks like jsonl and"),
        ("p.txt", '{\n"prompt": "a"}\n', "looks like json and"),
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


@pytest.mark.parametrize(
    ("name", "begin", "said"),
    [
        (
            "p.txt",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            "is a picture: prompts come as text, CSV, TSV, JSON or JSON lines; a pic",
        ),
        ("p.txt", b"\xff\xd8\xff\xe0\0\x10JFIF", "is a picture: prompts come as"),
        ("p.csv", b"PK\x03\x04\x14\0\x06\0", "is a spreadsheet, document or archive: prompts come as"),
        ("p.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is a spreadsheet or document: prompts come as"),
        (
            "p.jsonl",
            b"\x1f\x8b\x08\0\0",
            "is an archive: prompts come as text, CSV, TSV, JSON or JSON lines; unpack it first",
        ),
        ("p.txt", b"%PDF-1.4\n%\xe2\xe3\n", "is a document: prompts come as"),
        ("p.parquet", b"PAR1\x15\x04", "p.parquet is a table in binary: prompts come as"),
        ("boat.png", b"", "boat.png is a picture: prompts come as"),
        ("sd.safetensors", b"", "sd.safetensors is a model: prompts come as"),
        ("p.json5", b"", "p.json5 is JSON with comments: prompts come as"),
        (
            "p.txt",
            rb"{\rtf1\ansi a cat}",
            r"p.txt line 1 is '{\\rtf1\\ansi a cat}', which looks like rich text: prompts come as",
        ),
        (
            "p.txt",
            b"\n\n<!DOCTYPE html><html>",
            "p.txt line 3 is '<!DOCTYPE html><html>', which looks like a web page: ",
        ),
        ("p.csv", b"<html><table>", "p.csv line 1 is '<html><table>', which looks like a web page: "),
        ("p.txt", b"<?xml version='1.0'?>\n", "which looks like XML: "),
        ("p.csv", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS: prompts come as text, CSV"),
        ("p.txt", b"prompts:\n  - a\n", "which looks like YAML: prompts come as"),
        ("p.txt", b"- prompt: a\n  seed: 1\n", "which looks like YAML: prompts come as"),
        ("p.txt", b"```\na\n```\n", "which looks like Markdown: prompts come as"),
        ("p.txt", b"| prompt | seed |\n|---|---|\n", "which looks like Markdown: prompts come as"),
        (
            "p.txt",
            b"['a', 'b']\n",
            "looks like a list as Python prints it: prompts come as text, CSV, TSV, JSON or JSON lines; ",
        ),
        ("p.txt", b"{'prompt': 'a'}\n", "looks like a list as Python prints it"),
        ("p.json", b'```json\n["a"]\n```', "p.json line 1 is '```json', which looks like Markdown"),
        ("p.txt", b'\n{"prompt": "a"}\n', 'line 2 is \'{"prompt": "a"}\', which looks like jsonl'),
        ("p.txt", b"\nprompt,seed\n", "line 2 is 'prompt,seed', which looks like csv"),
        ("p.txt", b"Prompt;Steps\n", "looks like csv"),
        ("p.txt", b"name,prompt,negative_prompt\n", "looks like csv"),
        ("p.txt", b'"prompt"\n', "looks like csv"),
        ("p.txt", b"prompt|seed\n", "looks like csv"),
        ("p.txt", b'[["a"]]\n', "looks like json and"),
    ],
)
def test_what_is_something_else_is_told_as_what_it_is(tmp_path: Path, name: str, begin: bytes, said: str):
    with pytest.raises(UnreadableInput) as caught:
        rows_of(tmp_path, name, begin)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("end", "code"), [("\u2028", "2028"), ("\u2029", "2029"), ("\x85", "0085"), ("\x0b", "000B"), ("\x0c", "000C")]
)
def test_a_line_end_of_other_programs_is_asked_about(tmp_path: Path, end: str, code: str):
    good, bad = rows_of(tmp_path, "p.txt", f"a{end}\na cat{end}a dog\n")

    assert good.data == {"prompt": "a"}
    assert f"behind 'a cat' stands U+{code}, which ends lines in some programs: end the line there" in error_of(bad)
    assert bad.number == 2


def test_what_is_written_of_a_picture_is_no_list_of_prompts(tmp_path: Path):
    lines = [
        "a cat",
        "Negative prompt: ugly",
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1",
        "Steps of a temple",
    ]

    rows = rows_of(tmp_path, "p.txt", "\n".join(lines))

    assert [bool(row.errors) for row in rows] == [False, True, True, False]
    assert 'no prompt: write the settings on the line of their prompt, as in --prompt "..."' in error_of(rows[1])


def test_lines_that_look_blank_are_nothing(tmp_path: Path):
    (row,) = rows_of(tmp_path, "p.txt", "\u200b\n\u00a0\na cat\u200b\n\x1a")

    assert (row.number, row.data) == (3, {"prompt": "a cat"})


def test_a_file_that_is_not_there_or_a_folder_is_told_before_anything_is_read(tmp_path: Path):
    with pytest.raises(
        UnreadableInput, match="No such file or directory; check the path, or say a prompt itself by --prompt"
    ):
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


@pytest.mark.parametrize(
    "begin",
    [
        "[cat] on a mat",
        "[[cat]]",
        "{red|blue} ball",
        "{{a|b}|c} d",
        '["hello"] on a sign',
        '{"a"|b} x',
        "from dusk to dawn",
        "RIFF of a band",
        "GIF89a",
        "#1 cat",
        "--dramatic light",
        "\u2014 a dash",
        "\u201ca cat\u201d",
        "- cat",
        "<lora:x:1> cat",
        "--- a line",
        "a prompt, seed 7",
        "-- x",
    ],
)
def test_a_prompt_that_begins_with_a_bracket_or_has_a_comma_is_a_prompt(tmp_path: Path, begin: str):
    (row,) = rows_of(tmp_path, "p.txt", begin)

    assert row.data == {"prompt": begin}


def test_what_is_said_counts_more_than_what_it_looks_like(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text("prompt\n[\n")

    assert [r.data["prompt"] for r in read_rows(str(path), InputFormat.TEXT)] == ["prompt", "["]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_end_as_any_system_ends_them_in_any_unicode(tmp_path: Path, ends: str, code: str):
    texts = {"p.txt": ["a é", "b"], "p.csv": ["prompt,seed", "a é,1", "b,2"], "p.jsonl": ['"a é"', '"b"']}
    for name, lines in texts.items():
        rows = rows_of(tmp_path, name, ends.join(lines).encode(code))
        assert [r.data["prompt"] for r in rows] == ["a é", "b"]


def test_a_line_end_that_two_pieces_share_is_one():
    rows = parse_rows("x", InputFormat.TEXT, [b"a\r", b"\nb\r", b"c", b"\n\n", b"d\r"])

    assert [(r.number, r.data["prompt"]) for r in rows] == [(1, "a"), (2, "b"), (3, "c"), (5, "d")]


def test_marks_of_files_that_were_joined_are_no_text(tmp_path: Path):
    rows = rows_of(tmp_path, "p.txt", "\ufeffa\n\ufeffb\ufeff c\n")

    assert [r.data["prompt"] for r in rows] == ["a", "b c"]


def test_a_json_array_has_texts_and_objects(tmp_path: Path):
    rows = rows_of(tmp_path, "p.json", '["a red circle", {"prompt": "b", "seed": 4}, 7]')

    assert [r.data for r in rows] == [{"prompt": "a red circle"}, {"prompt": "b", "seed": 4}, {}]
    assert "the entry is a number: write a text or an object" in error_of(rows[2])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.tsv", "prompt\tseed\na, b\t4\n"),
        ("p.csv", "prompt;seed\na, b;4\n"),
        ("p.csv", "sep=;\r\nprompt;seed\r\na, b;4\r\n"),
        ("p.csv", "prompt\tseed\na, b\t4\n"),
        ("p.csv", 'Prompt,Seed\n"a, b",4\n'),
        ("p.csv", 'prompt ,seed\n"a, b",4\n'),
        ("p.csv", 'prompt,seed,,\n"a, b",4,,\n,,,\n,,,\n'),
        ("p.csv", 'prompt,seed\n"a, b",4,,,\n'),
        ("p.csv", '\n\nprompt,seed\n"a, b",4\n'),
        ("p.csv", "Prompt;Seed;\na, b;4;\n;;\n"),
        ("p.csv", 'Prompt,"\n SEED "\n"a, b",4\n'),
        ("p.csv", '"sep=;"\nprompt;seed\na, b;4\n'),
        ("p.csv", "\nsep=;\n\nprompt;seed\na, b;4\n"),
        ("p.csv", "\n\nprompt;seed\na, b;4\n"),
        ("p.csv", 'prompt,,seed\n"a, b",,4\n'),
        ("p.tsv", 'prompt,seed\n"a, b",4\n'),
        ("p.tsv", "prompt;seed\na, b;4\n"),
    ],
)
def test_tables_are_read_as_spreadsheets_write_them(tmp_path: Path, name: str, content: str):
    (row,) = rows_of(tmp_path, name, content)

    assert row.data == {"prompt": "a, b", "seed": "4"}
    assert not row.errors


def test_a_table_of_tabs_with_one_column_has_commas_in_its_prompts(tmp_path: Path):
    rows = rows_of(tmp_path, "p.tsv", "prompt\na, b\nc; d\n")

    assert [row.data["prompt"] for row in rows] == ["a, b", "c; d"]


def test_numbers_with_a_comma_are_read_between_semicolons(tmp_path: Path):
    rows = rows_of(tmp_path, "p.csv", "prompt;guidance_scale;seed\n7,5;7,5;4\nb;8;1,5\n")

    assert rows[0].data == {"prompt": "7,5", "guidance_scale": "7.5", "seed": "4"}
    assert rows[1].data == {"prompt": "b", "guidance_scale": "8", "seed": "1,5"}


@pytest.mark.parametrize("cell", ["#NAME?", "#REF!", "#N/A", "#NV"])
def test_what_a_spreadsheet_could_not_work_out_is_no_prompt(tmp_path: Path, cell: str):
    good, bad = rows_of(tmp_path, "p.csv", f"prompt,seed\n#1 cat!,1\n{cell},2\n")

    assert good.data["prompt"] == "#1 cat!"
    assert f"prompt is {cell!r}, which a spreadsheet writes for a cell that it cannot work out: mend it" in error_of(
        bad
    )
    assert bad.number == 3


@pytest.mark.parametrize("line", ["--prompt=", '--prompt ""', "--prompt ''"])
def test_a_line_of_settings_may_say_the_empty_prompt(tmp_path: Path, line: str):
    (row,) = rows_of(tmp_path, "p.txt", f'{line} --negative_prompt ""')

    assert row.data == {"prompt": "", "negative_prompt": ""}


def test_lines_of_settings_are_understood(tmp_path: Path, farm: Farm, hand: FarmHand):
    path = tmp_path / "p.txt"
    path.write_text(
        '--prompt "a red circle" --negative_prompt "blue" --steps 5 --cfg_scale 7.5 --width 72 --seed=9\nplain words\n'
        '--sampler_name "DPM++ 2M Karras" --PROMPT b\n'
    )

    first, second, third = (job.request for job in farm.submit(read_rows(str(path))).jobs())

    assert (first.prompt, first.negative_prompt, first.num_inference_steps) == ("a red circle", "blue", 5)
    assert (first.guidance_scale, first.width, first.seed) == (7.5, 72, 9)
    assert second.prompt == "plain words"
    assert (third.prompt, third.sampler, third.karras_sigmas) == ("b", "dpmpp_2m", True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--prompt a red circle", "'red' is no setting of a job: quote a value that has blanks"),
        ("--prompt a --colour 7", "'--colour' is no setting of a job: leave it out, with its value"),
        (
            '--outpath_samples x --prompt "a"',
            "'--outpath_samples' is no setting of a job: leave it out, with its value",
        ),
        ("--prompt a --sd_model v1", "'--sd_model' is no setting of a job: write --model and its name here"),
        ("--prompt a --n_iter 2", "'--n_iter' is no setting of a job: leave it out, and say --repeat for all lines"),
        ("--sampler_index 3 --prompt a", "'--sampler_index' is no setting of a job: write --sampler and its name"),
        ("--prompt a --negativ b", "'--negativ' is no setting of a job: did you mean --negative_prompt?"),
        (
            "--prompt \u201ca red circle\u201d",
            "the value of --prompt begins with \u201c: write straight quotes, \" or '",
        ),
        ("--prompt \u2018red\u2019", "the value of --prompt begins with \u2018: write straight quotes"),
        ("\u2014prompt a", "the line begins with \u2014, which a word processor makes of two hyphens: write --"),
        ("--prompt a --prompt b", "--prompt stands there twice: leave one out"),
        ("--steps 5 --num-inference-steps 6", "--num-inference-steps stands there twice"),
        ("--prompt --steps 5", "--prompt has no value: write one behind it"),
        ("--prompt a's", "(no closing quotation): check its quotes, and put a value with an apostrophe in"),
        ("--prompt", "--prompt has no value"),
        ('--prompt "a', "the line is no list of --settings (no closing quotation): check its quotes"),
    ],
)
def test_a_line_of_settings_that_cannot_be_read_says_why(tmp_path: Path, line: str, said: str):
    (row,) = rows_of(tmp_path, "p.txt", line)

    assert said in error_of(row)
