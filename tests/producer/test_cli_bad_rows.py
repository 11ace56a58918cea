"""`submit --errors`: the bad rows as they were written, with what is wrong before them; and how errors name flags."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigmafarm import Farm
from tests.command_line import Run, runner
from tests.farm_hand import Drawer, FarmHand

TABLE = "ID;Prompt;Guidance Scale;Seed\nA7;a cat;7,5;1\nB2;a dog;7,5;oops\nC9;a cow;high\nD4;a hen;7,5;4\n"


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the program in this process, on the test's farm."""
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


@pytest.fixture
def drawing(hand: FarmHand) -> Iterator[FarmHand]:
    with Drawer(hand):
        yield hand


def rows_in(path: Path, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines(), delimiter=delimiter))


def test_bad_rows_are_written_as_they_were_and_mended_they_are_submitted(run: Run, hand: FarmHand, tmp_path: Path):
    (tmp_path / "in.csv").write_text(TABLE)

    ran = run("submit", "in.csv", "--skip-bad", "--errors", "bad.csv")

    assert "2 bad rows are in bad.csv: mend them there and submit that file" in ran.err
    head, dog, cow = rows_in(tmp_path / "bad.csv", ";")
    assert head == ["x_line", "x_reason", "ID", "Prompt", "Guidance Scale", "Seed"]
    assert (dog[0], dog[2:]) == ("3", ["B2", "a dog", "7,5", "oops"])
    assert "seed is 'oops': must be a whole number" in dog[1]
    assert (cow[0], cow[2:]) == ("4", ["C9", "a cow", "high"])
    assert "the row has 3 of 4 columns" in cow[1]

    text = (tmp_path / "bad.csv").read_text().replace("oops", "2").replace("high", "7,5;3")
    (tmp_path / "bad.csv").write_text(text)
    mended = hand.farm.batch(run("submit", "bad.csv", "--errors", "worse.csv").out.strip())

    assert [job.request.columns for job in mended.jobs()] == [{"x_line": "3", "id": "B2"}, {"x_line": "4", "id": "C9"}]
    assert not (tmp_path / "worse.csv").exists()


def test_rows_that_are_bad_again_are_still_those_of_the_first_file(run: Run, hand: FarmHand, tmp_path: Path):
    (tmp_path / "bad.csv").write_text("x_line,x_reason,prompt,seed\n17,it was bad,a,x\n")

    ran = run("submit", "bad.csv", "--errors", "worse.csv")

    assert ran.code == 2
    assert "1 bad row is in worse.csv: with --skip-bad the others are submitted" in ran.err
    head, row = rows_in(tmp_path / "worse.csv")
    assert (head, row[0], row[2:]) == (["x_line", "x_reason", "prompt", "seed"], "17", ["a", "x"])
    assert row[1].startswith("seed is 'x'")


def test_every_bad_row_is_written_and_objects_keep_their_form(run: Run, hand: FarmHand, tmp_path: Path):
    rows = [{"prompt": "a", "seed": "x", "labels": {"n": str(n)}} for n in range(150)]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, "no JSON", '"good"']) + "\n")

    run("submit", "in.jsonl", "--errors", "bad.jsonl", "--skip-bad")

    written = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert len(written) == 151
    assert {**written[149], "x_reason": ""} == {**rows[149], "x_line": "150", "x_reason": ""}
    assert (written[150]["prompt"], written[150]["x_line"]) == ("no JSON", "151")


def test_a_row_that_a_matrix_multiplies_is_written_once_and_lines_of_text_are_prompts(
    run: Run, tmp_path: Path, farm: Farm
):
    FarmHand(farm)
    (tmp_path / "in.txt").write_text('good\n--prompt "a" --stepz 3\n--prompt "b" --seed x\n')

    run("submit", "in.txt", "--sweep", "guidance_scale=5,7", "--errors", "bad.tsv", "--skip-bad")

    _, *rows = rows_in(tmp_path / "bad.tsv", "\t")
    assert [(row[0], row[2]) for row in rows] == [("2", '--prompt "a" --stepz 3'), ("3", '--prompt "b" --seed x')]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bad.xlsx", "--errors is 'bad.xlsx': must end in .csv, .tsv, .jsonl"),
        ("in.csv", "--errors is 'in.csv': it is the file that is submitted; name another"),
        (
            "none/bad.csv",
            "--errors is 'none/bad.csv': it cannot be written (No such file or directory); check the path",
        ),
    ],
)
def test_a_file_that_cannot_take_bad_rows_is_refused_before_anything(run: Run, tmp_path: Path, name: str, said: str):
    (tmp_path / "in.csv").write_text(TABLE)

    ran = run("submit", "in.csv", "--errors", name)

    assert ran.code == 2
    assert said in ran.err


def test_a_row_that_is_left_out_is_told_in_the_words_of_flags_too(run: Run, hand: FarmHand, tmp_path: Path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "a", "split": "x"}\n{"prompt": "b"}\n')

    ran = run("submit", "in.jsonl", "--skip-bad", "--errors", "bad.csv", "--json")
    plan = run("submit", "in.jsonl", "--skip-bad", "--dry-run")

    (_, row) = rows_in(tmp_path / "bad.csv")
    for said in (row[1], ran.json["skipped"][0]["errors"][0], ran.err, plan.err):
        assert "--keep split keeps it" in said


def test_a_dry_run_does_not_ask_for_the_flag_that_was_said(run: Run, hand: FarmHand, tmp_path: Path):
    (tmp_path / "in.csv").write_text(TABLE)

    ran = run("submit", "in.csv", "--skip-bad", "--dry-run", "--errors", "bad.csv")

    assert "2 bad rows are in bad.csv: mend them there" in ran.err


def test_a_failure_is_named_by_its_line_of_the_file(run: Run, drawing: FarmHand, tmp_path: Path):
    (tmp_path / "in.csv").write_text("prompt\n\na\nfail b\n")

    ran = run("submit", "in.csv", "--wait")

    assert "-000001 (line 4) failed: no luck" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--steps", "abc"), "must be a whole number"),
        (("--guidance-scale", "abc"), "must be a number"),
        (("--no-such-flag",), "No such option: --no-such-flag"),
    ],
)
def test_a_wrong_flag_is_json_too_where_json_was_asked_for(run: Run, arguments: tuple[str, ...], said: str):
    ran = run("submit", "-p", "a", "--json", *arguments)

    assert ran.code == 2
    assert ran.json["error"]["code"] == "invalid_request"
    assert said in ran.json["error"]["message"]
    assert "Input should be" not in ran.err


# -- errors name flags as they are written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--num-inference-steps", "0"), "--num-inference-steps is 0: must be at least 1"),
        (("--sweep", "nothing=1"), "--sweep names 'nothing', which is no setting"),
        (("--sweep", "seed"), "must be a setting with its values, such as guidance_scale=5,7.5"),
        (("--sweep", "steps=4,0"), "--sweep of num_inference_steps is '0': must be at least 1"),
        (("--draws", "3"), "--draws is 3: only alternatives can be drawn"),
        (("--priority", "500"), "--priority is 500"),
        (("--keep", "seed"), "--keep names seed, which a job has already"),
        (("--mask-blur", "3"), "--mask-blur"),
        (("--model", "none"), "--model is 'none': this farm knows tiny"),
        (("--karras-sigmas", "--sampler", "ddim"), "--karras-sigmas is True: sampler ddim has none"),
    ],
)
def test_what_a_flag_said_wrong_is_told_by_the_flag(run: Run, hand: FarmHand, arguments: tuple[str, ...], said: str):
    ran = run("submit", "-p", "a", *arguments)

    assert ran.code == 2
    assert said in ran.err


def test_in_a_file_settings_are_called_as_they_are_there(run: Run, hand: FarmHand, tmp_path: Path):
    (tmp_path / "in.csv").write_text("prompt,num_inference_steps,colour\na,0,red\n")
    (tmp_path / "in.jsonl").write_text('{"prompt": "a", "num_inference_steps": 0, "colour": "red"}\n')

    of_table, of_lines = run("submit", "in.csv"), run("submit", "in.jsonl", "--json")

    assert "--keep colour keeps it with the jobs, and so does the name x_colour" in of_table.err
    assert "row 1: num_inference_steps is 0" in of_lines.err
    assert "leave them out with --skip-bad" in of_lines.json["error"]["message"]
    assert any("(--keep colour keeps it" in each for each in of_lines.json["error"]["rows"][0]["errors"])
