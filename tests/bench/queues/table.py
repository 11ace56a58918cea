"""The comparison's table for people, from the lines that its runs left.

    python -m tests.bench.queues.table [--into README.md]

Of each contender the runs of the newest commit that measured it; figures of several seeds are added, times are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.page import put_into
from tests.bench.queues.ledger import LATE_S

RESULTS = Path(__file__).parents[1] / "results" / "queues.jsonl"
BEGIN = "<!-- queues: python -m tests.bench.queues.table --into README.md -->"
END = "<!-- end of the queues -->"
HEAD = ("", "not done", "done twice", f"late by {LATE_S:.0f} s", "work in vain", "last result", "set up with")

Line = Mapping[str, Any]


def read(file: Path) -> list[Line]:
    """Return the lines of a file of results, oldest first."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def newest(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Return the lines of each contender's newest commit, in the order in which contenders came."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        kept = found.setdefault(line["contender"], [])
        if kept and kept[-1]["commit"] != line["commit"]:
            kept.clear()
        kept.append(line)
    return found


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
    some = next(iter(found.values()))[-1]
    num_runs = len(next(iter(found.values())))
    when = f"{some['num_jobs']:,} jobs a run, {num_runs} run{'s' if num_runs > 1 else ''} each, {some['date']}"
    return f"{out}\n\n{when}, {some['device']}, commit {some['commit']}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path)
    args = parser.parse_args()
    found = table(read(RESULTS))
    if args.into:
        put_into(args.into, BEGIN, END, found)
    print(found)


if __name__ == "__main__":
    sys.exit(main())
