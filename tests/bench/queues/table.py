"""The comparison's table for people, from the lines that its runs left.

    python -m tests.bench.queues.table [--into README.md tests/simulation/README.md]

Of each contender the newest run of each seed; figures of several seeds are added, times are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sigmafarm_common.wording import numbered
from tests.bench.page import put_into
from tests.bench.queues.ledger import LATE_S

RESULTS = Path(__file__).parents[1] / "results" / "queues.jsonl"
BEGIN = "<!-- queues: python -m tests.bench.queues.table --into README.md tests/simulation/README.md -->"
END = "<!-- end of the queues -->"
HEAD = ("", "not done", "done twice", f"late by {LATE_S:.0f} s", "work in vain", "last result", "set up with")

Line = Mapping[str, Any]


def read(file: Path) -> list[Line]:
    """Return the lines of a file of results, oldest first."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def newest(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Return each contender's newest run of each seed, in the order in which contenders came."""
    found: dict[str, dict[int, Line]] = {}
    for line in lines:
        found.setdefault(line["contender"], {})[line["seed"]] = line
    return {name: [of_seed[seed] for seed in sorted(of_seed)] for name, of_seed in found.items()}


def row(name: str, lines: Sequence[Line]) -> tuple[str, ...]:
    """Return a contender's cells."""
    counts = [str(sum(line[figure] for line in lines)) for figure in ("num_lost", "num_doubled", "num_late")]
    ends = [line["seconds"] for line in lines]
    last = "never" if None in ends else f"{statistics.median(ends):.0f} s"
    versions = lines[-1].get("packages", {})
    main = next((part for part in (name.partition(",")[0], name.rpartition(" ")[2]) if part in versions), "")
    said = f"{name} {versions[main]}" if main else name
    return (said, *counts, str(sum(line["num_wasted"] for line in lines)), last, lines[-1]["setup"])


def table(lines: Iterable[Line]) -> str:
    """Return the table in Markdown, with a line on when and what it was measured on."""
    found = newest(lines)
    rows = [row(name, each) for name, each in found.items()]
    out = "\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *rows))
    measured = [line for each in found.values() for line in each]
    days, commits, devices = ({line[what] for line in measured} for what in ("date", "commit", "device"))
    seeds = {line["seed"] for line in measured}
    when = f"{measured[-1]['num_jobs']:,} jobs a run, {numbered(len(seeds), 'run')} each (a seed a run)"
    said = (", ".join(sorted(each)) for each in (days, devices, commits))
    return f"{out}\n\n{when}; {'; '.join(said)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, nargs="+", default=())
    args = parser.parse_args()
    found = table(read(RESULTS))
    for page in args.into:
        put_into(page, BEGIN, END, found)
    print(found)


if __name__ == "__main__":
    sys.exit(main())
