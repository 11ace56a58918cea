"""Matrices from the command line: the number of jobs first, a question before many, and a dry run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from sigmafarm import Farm
from sigmafarm.cli.submit import plan
from tests.command_line import Run, runner
from tests.farm_hand import FarmHand


@pytest.fixture
def run(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


def test_the_number_of_jobs_is_said_before_they_are_sent(run: Run, farm: Farm) -> None:
    ran = run(
        "submit", "-p", "a {b|c}", "--alternatives", "--sweep", "steps=5,9", "--sweep", "seed=1..3", "--repeat", 2
    )

    assert ran.code == 0
    assert ran.err.startswith("24 jobs of 1 row\n")
    assert farm.batch(ran.out.strip()).counts.total == 24


def test_rows_of_a_csv_are_swept_and_those_of_stdin_counted(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").write_text("prompt,guidance_scale\na,3\nb,\n", "utf-8")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\nc\n")))

    file = run("submit", "rows.csv", "--sweep", "sampler=lms,euler", "--dry-run", "--json")
    stdin = run("submit", "-", "--sweep", "steps=5,9")

    assert [job["guidance_scale"] for job in file.json["jobs"]] == [3, 3, 7.5, 7.5]
    assert file.json["num_jobs"] == 4
    assert stdin.err.startswith("6 jobs of 3 rows\n")


def test_a_dry_run_shows_the_jobs_and_submits_none(run: Run, farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "animal.txt").write_text("fox\nowl\n", "utf-8")

    ran = run("submit", "-p", "a __animal__", "--wildcards", tmp_path, "--dry-run")

    assert "a fox" in ran.out
    assert "animal=owl" in ran.out
    assert "2 jobs; nothing was submitted" in ran.err
    assert farm.batches() == []


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_many_jobs_are_asked_about_at_a_terminal(
    run: Run, farm: Farm, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr(plan, "has_terminal", lambda: True)
    monkeypatch.setattr(plan, "ASKED_JOBS", 10)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))

    ran = run("submit", "-p", "a", "--sweep", "seed=1..10")

    assert ran.code == code
    assert "Submit 10 jobs?" in ran.err
    assert len(farm.batches()) == 1 - code


def test_whoever_is_sure_is_not_asked(run: Run, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "has_terminal", lambda: True)
    monkeypatch.setattr(plan, "ASKED_JOBS", 10)

    ran = run("submit", "-p", "a", "--sweep", "seed=1..10", "--yes")

    assert (ran.code, len(farm.batches())) == (0, 1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sweep", "with=1,2"], "sweep names 'with', which is no setting of a job"),
        (["--sweep", "width=515"], "width is '515': must be a multiple of 8"),
        (["--draws", "3"], "only alternatives can be drawn"),
        (["--wildcards", "nowhere"], "the folder of lists nowhere is none"),
    ],
)
def test_what_is_wrong_with_a_matrix_ends_the_command(run: Run, farm: Farm, flags: list[str], said: str) -> None:
    ran = run("submit", "-p", "a", *flags)

    assert ran.code == 2
    assert said in ran.err
    assert farm.batches() == []
