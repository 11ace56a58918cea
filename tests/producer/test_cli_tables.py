"""Tables: on a terminal one line a row and ids whole, however narrow it is; on a pipe whole lines with tabs; as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from sigmafarm import Farm
from sigmafarm.cli.look.job_fields import KNOWN
from sigmafarm.cli.output import Rows
from tests.command_line import Run, runner
from tests.farm_hand import FarmHand
from tests.terminal import Terminal

LONG = "a long prompt that says much, " * 9 + "and ends here"


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


def test_a_pipe_has_a_line_a_row_with_tabs_and_nothing_cut(run: Run, farm: Farm, hand: FarmHand):
    batch = farm.submit([LONG, "b\tc\nd", "fail e"], name="a name " * 9)
    hand.work_all()

    lines = [line.split("\t") for line in run("jobs", batch.id).out.splitlines()]

    assert [line[0] for line in lines] == [f"{batch.id}-00000{row}" for row in range(3)]
    assert {len(line) for line in lines} == {7}
    assert lines[0][-1] == LONG
    assert lines[1][-1] == r"b\tc\nd"
    _, *rows = run("status").out.splitlines()
    assert rows[0].split("\t")[:3] == [batch.id, "a name " * 9, "0"]
    assert [line.split("\t")[0] for line in run("workers").out.splitlines()] == ["hand"]


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_a_terminal_has_a_line_a_row_and_whole_ids(width: int):
    ids = ["1m8jcwrhssewn3s-000000", "1m8jcwrhssewn3s-000001"]
    rows = [(each, "succeeded", "50/50", LONG) for each in ids]
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)

    console.print(Rows(["job", "state", ">step", "prompt or error"], rows))

    lines = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    assert [line.split()[0] for line in lines if ids[0][:15] in line] == ids
    if width >= 80:
        assert len(lines) == 3
        assert all("a long prompt" in line and "ends here" not in line for line in lines[1:])


def test_a_narrow_terminal_leaves_columns_out_before_it_breaks_or_hides_a_word():
    ids = ["1m8jcwrhssewn3s-000000", "1m8jcwrhssewn3s-000001"]
    names = ["job", "state", ">step", ">tries", "worker", "warnings", "prompt or error"]
    rows = [(each, "succeeded", "50/50", "0", "vm-cpu-976d96", "-", LONG) for each in ids]
    warned = [(*row[:5], "trajectory_diverged", LONG) for row in rows]

    heads = {width: _on_terminal(Rows(names, rows), width)[0].split() for width in (60, 80, 120)}
    lines, with_warnings = _on_terminal(Rows(names, rows), 80), _on_terminal(Rows(names, warned), 80)

    assert heads[60] == ["job", "state", "prompt", "or", "error"]
    assert heads[80] == ["job", "state", "step", "worker", "prompt", "or", "error"]
    assert heads[120] == ["job", "state", "step", "tries", "worker", "prompt", "or", "error"]
    assert [line.split()[:4] for line in lines[1:]] == [[each, "succeeded", "50/50", "vm-cpu-976d96"] for each in ids]
    assert [line.split()[2] for line in with_warnings[1:]] == ["trajectory_diverged"] * 2
    assert all("a long prompt" in line for line in (*lines[1:], *with_warnings[1:]))


def test_titles_are_cut_and_times_are_not_broken():
    row = ("1m8jcwrhssewn3s", "a name " * 9, "0", "2 succeeded, 2 failed", "100%", "-", "2026-11-29 16:42:06")
    names = ["batch", "title", ">priority", "jobs", ">done", "left", "submitted"]

    head, first, *_ = _on_terminal(Rows(names, [row]), 80)

    assert (head.split()[0], head.split()[-1]) == ("batch", "submitted")
    assert first.rstrip().endswith("2026-11-29 16:42:06")


def _on_terminal(table: Rows, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(table)
    return file.getvalue().splitlines()


def test_a_real_terminal_is_told_from_a_pipe(farm: Farm, hand: FarmHand, tmp_path: Path):
    batch = farm.submit([LONG])
    terminal = Terminal(tmp_path, SIGMAFARM_REDIS_URL=farm.config.redis_url)

    seen, piped = terminal.screen("jobs", batch.id), terminal.run("jobs", batch.id)

    assert "prompt or error" in seen
    assert "ends here" not in seen
    assert piped.endswith(f"\t{LONG}\n")
    assert len(piped.splitlines()) == 1


def test_chosen_fields_with_tabs_and_as_csv(run: Run, farm: Farm, hand: FarmHand):
    batch = farm.submit(['say "a", b', "c\td\ne"], defaults={"seed": 4})
    hand.work_all()

    tabs = run("jobs", batch.id, "--fields", "row, prompt,seed,karras_sigmas,error").out
    table = list(csv.reader(io.StringIO(run("jobs", batch.id, "--csv", "--fields", "row,prompt,seed").out)))
    usual = list(csv.DictReader(io.StringIO(run("jobs", batch.id, "--csv").out)))

    assert tabs == '0\tsay "a", b\t4\tfalse\t\n1\tc\\td\\ne\t5\tfalse\t\n'.replace("\t5\t", "\t4\t")
    assert table == [["row", "prompt", "seed"], ["0", 'say "a", b', "4"], ["1", "c\td\ne", "4"]]
    assert [row["state"] for row in usual] == ["succeeded"] * 2
    assert usual[0]["image_key"] == next(batch.jobs()).image_key
    everything = run("jobs", batch.id, "--csv", "--fields", ",".join(KNOWN))
    assert (everything.code, len(everything.out.splitlines()[0].split(","))) == (0, len(KNOWN))


@pytest.mark.parametrize("bad", ["nosuch", "row,nosuch", "", " , "])
def test_an_unknown_field_names_those_that_are(run: Run, farm: Farm, hand: FarmHand, bad: str):
    batch = farm.submit(["a"])

    ran = run("jobs", batch.id, "--fields", bad)

    assert (ran.code, ran.out) == (2, "")
    assert "there are columns.NAME, id, " in ran.err, "what a long list is cut of is not this"
    assert "image_key" in ran.err
