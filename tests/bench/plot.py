"""Draws the newest race as a picture: pictures a second by load, and latencies by rate.

    python -m tests.bench.plot [--out docs/about/race.png] [results/*.jsonl]

Needs matplotlib, which the extra `bench` brings.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

from tests.bench.goals import RESULTS, Line, is_on_gpu, read

COLOURS = {"b0": "#9aa0a6", "b1": "#5f86b3", "sigmafarm": "#d9742b", "bare passes": "#3c4043"}
NAMES = {
    "b0": "Celery + pipeline, one a call",
    "b1": "static batches of 16",
    "sigmafarm": "sigmafarm",
    "bare passes": "bare UNet passes",
}
LOADS = {"homogeneous": "one kind", "mixed": "steps and guidance", "varied": "sizes, samplers too"}


def draw(lines: Sequence[Line], out: Path) -> None:
    """Draw the newest lines of one kind of device into a PNG."""
    races = [each for each in lines if each.get("bench") == "race"]
    backlogs = {each["load"]: each for each in races if each["part"] == "backlog"}
    arrivals = {each["rate"]: each for each in races if each["part"] == "arrivals"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), dpi=110)
    _bars(left, backlogs)
    _latencies(right, arrivals)
    last = races[-1]
    figure.suptitle(
        f"{last['model']} model, {last['device']}, {last['date']}, {last['commit']}", fontsize=9, color="0.35"
    )
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def _bars(axes: Any, backlogs: dict[str, Line]) -> None:
    loads = [load for load in LOADS if load in backlogs]
    for number, name in enumerate(NAMES):
        rates = [_rate(backlogs[load], name) for load in loads]
        places = [at + (number - 1.5) * 0.2 for at, rate in enumerate(rates) if rate is not None]
        axes.bar(places, [r for r in rates if r is not None], 0.19, color=COLOURS[name], label=NAMES[name])
    axes.set_xticks(range(len(loads)), [LOADS[load] for load in loads])
    axes.set_ylabel("pictures a second")
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])  # room for the names
    axes.set_title("A backlog", fontsize=11)
    _plain(axes)


def _rate(line: Line, name: str) -> float | None:
    if name != "bare passes":
        return line["images_per_s"][name]
    return line["jobs"] / statistics.median(line["oracle_s"]) if "oracle_s" in line else None


def _latencies(axes: Any, arrivals: dict[float, Line]) -> None:
    rates = sorted(arrivals)
    for name in ("b1", "sigmafarm"):
        for percentile, style in (("p50", "--"), ("p99", "-")):
            seconds = [arrivals[rate][name][percentile] for rate in rates]
            axes.plot(rates, seconds, style, marker="o", color=COLOURS[name], label=f"{NAMES[name]}, {percentile}")
    axes.set_xticks(rates)
    axes.set_yscale("log")
    for each in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        each("{x:g}")
    axes.set_xlabel("rate of arrivals, of what static batches can draw")
    axes.set_ylabel("seconds from submit to stored")
    axes.set_title("Mixed jobs that come one by one", fontsize=11)
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/about/race.png"))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("files", nargs="*", type=Path, default=sorted(RESULTS.glob("*.jsonl")))
    args = parser.parse_args()
    draw([each for each in read(args.files) if is_on_gpu(each) == (args.device == "cuda")], args.out)


if __name__ == "__main__":
    sys.exit(main())
