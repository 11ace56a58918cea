"""The goals, and what was measured last beside each, as a table for people.

    python -m tests.bench.goals [--device cpu|cuda] [--into README.md] [results/*.jsonl]

Reads the lines that the benchmarks left and takes the newest of each kind; measures nothing itself. What nobody has
measured on that kind of device has an empty cell. `--into` puts it between the marks of a page, in place of the older.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.page import put_into

RESULTS = Path(__file__).parent / "results"
#: What stands around the table on a page.
BEGIN, END = "<!-- goals: python -m tests.bench.goals --into README.md -->", "<!-- end of the goals -->"
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """One row of the table."""

    what: str
    #: What a line must say to be this goal's.
    of: Line
    #: The figure in it.
    figure: Callable[[Line], float | None]
    #: The figures of its rounds, where it has them.
    rounds: Callable[[Line], Sequence[float]] = lambda _line: ()
    #: What is to be reached on a CPU and on a GPU; None: no goal there.
    cpu: float | None = None
    gpu: float | None = None
    #: Whether less is better.
    is_limit: bool = False
    #: How a figure is written.
    form: str = "{:.2f}"
    unit: str = ""


def _ratios(line: Line, over: str) -> list[float]:
    ours = line["seconds"]["sigmafarm"]
    return [theirs / own for own, theirs in zip(ours, line["seconds"][over], strict=True)]


def _oracle_ratios(line: Line) -> list[float]:
    ours, oracle = line["seconds"]["sigmafarm"], line["oracle_s"]
    each = len(oracle) // len(ours)
    return [statistics.median(oracle[i * each : (i + 1) * each]) / own for i, own in enumerate(ours)]


def _backlog(load: str) -> Line:
    return {"bench": "race", "part": "backlog", "load": load}


def _arrivals(rate: float) -> Line:
    return {"bench": "race", "part": "arrivals", "rate": rate}


GOALS: tuple[Goal, ...] = (
    Goal(
        "pictures a second over Celery with diffusers' pipeline (b0), one kind",
        _backlog("homogeneous"),
        lambda line: line["over_b0"],
        lambda line: _ratios(line, "b0"),
        cpu=1.5,
        gpu=6.0,
        unit="x",
    ),
    Goal(
        "over the best static batching (b1), one kind",
        _backlog("homogeneous"),
        lambda line: line["over_b1"],
        lambda line: _ratios(line, "b1"),
        cpu=1.0,
        gpu=1.25,
        unit="x",
    ),
    Goal(
        "over b1, 20 to 80 steps, with guidance and without",
        _backlog("mixed"),
        lambda line: line["over_b1"],
        lambda line: _ratios(line, "b1"),
        cpu=1.15,
        gpu=1.6,
        unit="x",
    ),
    Goal(
        "over b1, two sizes and three samplers too",
        _backlog("varied"),
        lambda line: line["over_b1"],
        lambda line: _ratios(line, "b1"),
        unit="x",
    ),
    Goal(
        "useful FLOP/s over the same run's matmul rate",
        _backlog("homogeneous"),
        lambda line: line.get("flops_over_matmul"),
        gpu=0.5,
    ),
    Goal(
        "the whole farm over bare UNet passes of the same rows",
        _backlog("homogeneous"),
        lambda line: line.get("over_oracle"),
        _oracle_ratios,
        cpu=0.9,
        gpu=0.97,
    ),
    *(
        Goal(
            f"p99 latency over b1's, arrivals at {rate:g} of b1's capacity",
            _arrivals(rate),
            lambda line: line["over_b1"]["p99"],
            cpu=limit,
            gpu=limit,
            is_limit=True,
        )
        for rate, limit in ((0.2, 1.0), (0.5, 1.0), (0.8, 1.0), (0.9, 1 / 3))
    ),
    Goal(
        "makespan of mixed jobs on four workers over the LPT optimum",
        {"bench": "race", "part": "several"},
        lambda line: line["makespan_over_lpt"],
        cpu=1.05,
        gpu=1.05,
        is_limit=True,
        form="{:.3f}",
    ),
    Goal(
        "makespan with uploads of 200 ms over that with none",
        {"bench": "race", "part": "uploads"},
        lambda line: line["over_no_delay"]["0.2"],
        lambda line: [slow / fast for fast, slow in zip(line["seconds"]["0.0"], line["seconds"]["0.2"], strict=True)],
        cpu=1.05,
        gpu=1.02,
        is_limit=True,
        form="{:.3f}",
    ),
    Goal(
        "from an answered submit to the first step, idle farm",
        {"bench": "first_step"},
        lambda line: line["median_ms"]["bell"],
        lambda line: line["all_ms"]["bell"],
        cpu=30.0,
        gpu=30.0,
        is_limit=True,
        form="{:.0f}",
        unit=" ms",
    ),
    Goal(
        "padded rows, mixed",
        {"bench": "engine", "setting": "mixed"},
        lambda line: 100 * line["padded_rows"],
        cpu=3.0,
        gpu=3.0,
        is_limit=True,
        form="{:.1f}",
        unit=" %",
    ),
    Goal(
        "graphs built after warm-up",
        {"bench": "engine", "setting": "mixed"},
        lambda line: line["builds_after_warm_up"],
        gpu=0,
        is_limit=True,
        form="{:.0f}",
    ),
    Goal(
        "scheduler's host time over diffusers', a picture and step",
        {"bench": "engine", "setting": "scheduler"},
        lambda line: line["ours_over_diffusers"],
        cpu=1 / 50,
        gpu=1 / 100,
        is_limit=True,
        form="{:.4f}",
    ),
    Goal(
        "submitting 10,000 jobs, over an apply_async loop",
        {"bench": "submit"},
        lambda line: line["ratio"],
        lambda line: line["ratio_of_rounds"],
        cpu=10.0,
        gpu=10.0,
        form="{:.1f}",
        unit="x",
    ),
    Goal(
        "the same picture alone and in company, latents' relative difference",
        {"bench": "engine", "setting": "equality"},
        lambda line: line["latents_to_alone"],
        cpu=1e-5,
        gpu=1e-2,
        is_limit=True,
        form="{:.1e}",
    ),
)


def read(paths: Iterable[Path]) -> list[Line]:
    """Return the lines of files of results, in their order."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if line]


def is_on_gpu(line: Line) -> bool:
    return not str(line.get("device", "CPUs")).endswith("CPUs")


def newest(lines: Sequence[Line], goal: Goal, *, on_gpu: bool) -> Line | None:
    """Return the last line that is a goal's, on that kind of device; None where there is none."""
    found = [each for each in lines if goal.of.items() <= each.items() and is_on_gpu(each) == on_gpu]
    return max(enumerate(found), key=lambda each: (each[1].get("date", ""), each[0]))[1] if found else None


def row(goal: Goal, line: Line | None, *, on_gpu: bool) -> list[str]:
    """Return the cells of a goal: what, goal, measured, the least and most of its rounds, whether it is met, when."""
    wanted = goal.gpu if on_gpu else goal.cpu
    sign = "at most" if goal.is_limit else "at least"
    said = "" if wanted is None else f"{sign} {_written(goal, wanted)}"
    figure = None if line is None else goal.figure(line)
    if line is None or figure is None:
        return [goal.what, said, "", "", "", ""]
    is_met = "" if wanted is None else "yes" if (figure <= wanted if goal.is_limit else figure >= wanted) else "**no**"
    spread = goal.rounds(line)
    shown = f"{_written(goal, min(spread))} to {_written(goal, max(spread))}" if len(spread) > 1 else ""
    return [goal.what, said, _written(goal, figure), shown, is_met, f"{line.get('date', '')} {line['commit']}".strip()]


def _written(goal: Goal, figure: float) -> str:
    return goal.form.format(figure) + goal.unit


def table(lines: Sequence[Line], *, on_gpu: bool = False) -> str:
    """Return the table in Markdown."""
    head = ["what", "goal", "measured", "rounds", "met", "when"]
    rows = [row(goal, newest(lines, goal, on_gpu=on_gpu), on_gpu=on_gpu) for goal in GOALS]
    if not on_gpu:
        rows = [cells for goal, cells in zip(GOALS, rows, strict=True) if goal.cpu is not None or cells[2]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("files", nargs="*", type=Path, default=sorted(RESULTS.glob("*.jsonl")))
    parser.add_argument("--into", type=Path)
    args = parser.parse_args()
    found = table(read(args.files), on_gpu=args.device == "cuda")
    if args.into:
        put_into(args.into, BEGIN, END, found)
    print(found)


if __name__ == "__main__":
    sys.exit(main())
