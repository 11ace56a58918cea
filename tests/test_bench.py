"""The parts of the benchmarks that decide something: what is drawn, in which batches, and what the table says of it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.bench import goals
from tests.bench.race.loads import LOADS, Asked, arrivals, mixed
from tests.bench.race.queueing import MAX_BATCH, Waiting
from tests.bench.race.several import lpt
from tests.bench.race.turns import OwnTime, backlog_in_turns_s, latencies_in_turns_s

RESULTS = Path(__file__).parent / "bench" / "results"


def line(job: str, asked: Asked) -> str:
    return json.dumps([job, asked.said()])


def asked(num_steps: int = 20, **said: Any) -> Asked:
    return Asked("a boat", 1, num_steps, said.pop("guidance_scale", 5.0), said.pop("side", 128), **said)


def test_static_batches_hold_one_kind_and_the_kind_that_waits_longest_comes_first() -> None:
    waiting = Waiting()
    for n in range(MAX_BATCH + 2):
        waiting.add(line(f"a{n}", asked(20)))
    waiting.add(line("b0", asked(30)))
    waiting.add(line("c0", asked(20, sampler="euler")))

    batches = [[job for job, _ in waiting.next_batch()] for _ in range(5)]

    assert batches[0] == [f"a{n}" for n in range(MAX_BATCH)]
    assert batches[1:] == [[f"a{MAX_BATCH}", f"a{MAX_BATCH + 1}"], ["b0"], ["c0"], []]


@pytest.mark.parametrize("other", [{"side": 96}, {"guidance_scale": 1.0}, {"sampler": "euler"}, {"num_steps": 21}])
def test_pictures_that_a_pipeline_cannot_draw_together_are_of_two_kinds(other: dict[str, Any]) -> None:
    assert asked(**other).key != asked().key


def test_a_load_is_the_same_every_time_and_as_mixed_as_it_says() -> None:
    kinds = {name: {each.key for each in load(96, 128)} for name, load in LOADS.items()}

    assert len(kinds["homogeneous"]) == 1
    assert len(kinds["mixed"]) == 12
    assert len(kinds["varied"]) > 40
    assert mixed(8, 128) == mixed(96, 128)[:8]
    assert {each.num_rows for each in mixed(96, 128)} == {1, 2}


def test_jobs_arrive_at_the_rate_that_was_asked_for() -> None:
    times = arrivals(5000, 4.0)

    pauses = [after - before for before, after in pairwise(times)]
    assert statistics.mean(pauses) == pytest.approx(0.25, rel=0.1)
    assert statistics.stdev(pauses) == pytest.approx(0.25, rel=0.1)  # as of a Poisson process


def test_a_contenders_time_stands_still_between_its_turns() -> None:
    own = OwnTime()
    own.add_turn(10.0, 12.0)
    own.add_turn(20.0, 21.0)

    assert [own.at(at_s) for at_s in (10.0, 11.0, 12.0, 15.0, 20.5, 30.0)] == [0.0, 1.0, 2.0, 2.0, 2.5, 3.0]
    assert own.total_s == 3.0


class AtOnce:
    """A contender that has a picture as soon as it is asked for it."""

    name = "at once"

    def __init__(self) -> None:
        self.submits: list[int] = []
        self.stored: dict[str, float] = {}

    def start(self) -> None:
        pass

    def submit(self, asked: Sequence[Asked]) -> list[str]:
        self.submits.append(len(asked))
        jobs = [str(len(self.stored) + n) for n in range(len(asked))]
        self.stored |= dict.fromkeys(jobs, time.time())
        return jobs

    def wait(self, jobs: Sequence[str]) -> dict[str, float]:
        return {job: self.stored[job] for job in jobs}

    def are_stored(self, jobs: Sequence[str]) -> bool:
        return self.stored.keys() >= set(jobs)

    def pids(self) -> list[int]:
        return []

    def close(self) -> None:
        pass


def test_a_backlog_is_submitted_whole_and_arrivals_as_they_come() -> None:
    backlog, coming = AtOnce(), AtOnce()

    backlog_in_turns_s([backlog], [asked() for _ in range(5)], turn_s=0.02)
    latencies_in_turns_s([coming], [asked() for _ in range(3)], [0.0, 0.0, 0.05], turn_s=0.02)

    assert backlog.submits == [5]
    assert coming.submits == [2, 1]


def test_the_rule_of_the_longest_first_is_grahams() -> None:
    assert lpt([3, 3, 2, 2, 2], 2) == 7  # the best is 6
    assert lpt([5, 5, 4, 4, 3, 3, 3], 3) == 11  # the best is 9: his worst case for three machines


def race(figure: float, wanted_met: str) -> dict[str, Any]:
    seconds = {"sigmafarm": [1.0, 2.0], "b0": [2.0 * figure, 2.0 * figure], "b1": [1.0, 1.0]}
    return {
        "bench": "race",
        "part": "backlog",
        "load": "homogeneous",
        "over_b0": figure,
        "over_b1": 1.0,
        "seconds": seconds,
        "oracle_s": [0.9, 0.9],
        "device": "2 CPUs",
        "commit": wanted_met,
        "date": "2026-01-02",
    }


@pytest.mark.parametrize(("figure", "met"), [(1.5, "yes"), (1.49, "**no**")])
def test_the_table_says_whether_a_goal_is_met_and_takes_the_newest_line(figure: float, met: str) -> None:
    newest, older = race(figure, "new"), {**race(9.0, "old"), "date": "2026-01-01"}

    first = goals.table([newest, older]).splitlines()[2]

    assert f"| at least 1.50x | {figure:.2f}x |" in first
    assert f"| {met} | 2026-01-02 new |" in first
    assert f"{figure:.2f}x to {2 * figure:.2f}x" in first


def test_a_gpus_lines_are_no_cpus() -> None:
    on_gpu = {**race(7.0, "gpu"), "device": "NVIDIA H200"}

    assert "7.00x" not in goals.table([on_gpu])
    assert "| at least 6.00x | 7.00x |" in goals.table([on_gpu], on_gpu=True)


def test_what_nobody_measured_has_an_empty_cell() -> None:
    rows = goals.table([]).splitlines()[2:]

    assert len(rows) == len([goal for goal in goals.GOALS if goal.cpu is not None])
    assert all(row.endswith("|  |  |  |  |") for row in rows)


def test_every_goal_finds_its_figure_in_the_results_that_are_kept() -> None:
    lines = goals.read(sorted(RESULTS.glob("*.jsonl")))

    for goal in goals.GOALS:
        found = goals.newest(lines, goal, on_gpu=False)
        if goal.cpu is not None:
            assert found is not None, f"nobody has measured: {goal.what}"
            assert goal.figure(found) is not None, goal.what


def test_the_readme_shows_the_table_of_the_results_that_are_kept() -> None:
    readme = (RESULTS.parents[2] / "README.md").read_text()

    assert goals.table(goals.read(sorted(RESULTS.glob("*.jsonl")))) in readme, "python -m tests.bench.goals"
