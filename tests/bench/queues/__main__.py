"""The same jobs and the same faults on job queues of Python and on this farm: what is lost, doubled, late.

    python -m tests.bench.queues [--jobs 1000] [--seeds 1 2 3] [--only arq ...] [--out FILE.jsonl] [--venv FOLDER]

1,000 jobs of a second on two workers of eight each; 15 faults: workers killed, ended, frozen, cut off, the broker
killed and frozen, in an order of the seed's own. Workers and brokers that died are started again at once. The broker is
a Valkey with `appendfsync everysec`, as the farm runs it. Each contender is set up as its documentation says for jobs
that must not be lost (contenders.py), in an environment of its own. Prints a table and a JSON line a run.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.bench.about import about
from tests.bench.queues import ours
from tests.bench.queues.contenders import APPS, CONTENDERS, Contender
from tests.bench.queues.faults import Fault, drawn
from tests.bench.queues.ledger import Outcome
from tests.bench.queues.stage import NUM_WORKERS, ROOT, Stage
from tests.bench.queues.workers import Workers

OURS = "sigmafarm"
#: Seconds that workers get to come up before the first submit: who is late is late for it.
START_S = 5.0
LINE = "{:20} {:>4} {:>5} {:>8} {:>5} {:>7} {:>8} {:>14}"
HEAD = LINE.format("", "seed", "lost", "doubled", "late", "wasted", "seconds", "longest gap s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", choices=[*(c.name for c in CONTENDERS), OURS])
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "sigmafarm-queues")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    chosen = [c for c in CONTENDERS if not args.only or c.name in args.only]
    pythons = {each.name: prepared(args.venv, each) for each in chosen}
    print(HEAD)
    for seed in args.seeds:
        faults = drawn(seed, NUM_WORKERS)
        for contender in chosen:
            python = pythons[contender.name]
            outcome = raced(contender, python, faults, args.jobs)
            tell(contender.name, seed, outcome, args.out, {"setup": contender.setup, "packages": versions(python)})
        if not args.only or OURS in args.only:
            with tempfile.TemporaryDirectory() as name, closing(Stage(Path(name))) as stage:
                outcome = ours.run(Path(name), stage, faults, args.jobs)
            tell(OURS, seed, outcome, args.out, {"setup": "its defaults"})


def prepared(folder: Path, contender: Contender) -> Path:
    """Make an environment with what a contender needs, unless it is there; return its Python."""
    place = folder / re.sub(r"\W+", "-", contender.name)
    python, mark = place / "bin" / "python", place / ".made"
    if not mark.exists():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *contender.packages], check=True)
        mark.touch()
    return python


def raced(contender: Contender, python: Path, faults: Sequence[Fault], num_jobs: int) -> Outcome:
    """Run one contender from its submit to its end."""
    with tempfile.TemporaryDirectory() as name, closing(Stage(Path(name))) as stage:
        logs = Path(name)

        def environment(broker_url: str) -> dict[str, str]:
            more = {key: value.format(broker=broker_url) for key, value in contender.environ.items()}
            return stage.environment(broker_url, more)

        def start(number: int) -> subprocess.Popen[bytes]:
            told = environment(stage.url_of(number))
            with (logs / f"worker-{number}.log").open("ab") as log:
                return subprocess.Popen(
                    [python, *(part.format(number=number) for part in contender.worker)],
                    env=told,
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

        workers = Workers(NUM_WORKERS, start)
        time.sleep(START_S)
        began_s = time.time()
        told = environment(stage.broker.url)
        subprocess.run([python, "-m", f"{APPS}.submit", contender.app, str(num_jobs)], env=told, cwd=ROOT, check=True)
        outcome = stage.run(faults, workers, num_jobs, began_s)
        workers.end()
        return outcome


def versions(python: Path) -> dict[str, str]:
    """Return what is installed beside a contender."""
    said = subprocess.run([python, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True)
    return {each["name"]: each["version"] for each in json.loads(said.stdout)}


def tell(name: str, seed: int, outcome: Outcome, out: Path | None, more: dict[str, Any]) -> None:
    """Print a run's line, and append it as JSON where it was asked for."""
    seconds = "never" if outcome.seconds is None else f"{outcome.seconds:.1f}"
    figures = (outcome.num_lost, outcome.num_doubled, outcome.num_late, outcome.num_wasted, seconds)
    print(LINE.format(name, seed, *figures, outcome.longest_gap_s), flush=True)
    if out:
        line = {"bench": "queues", "contender": name, "seed": seed, **outcome.said(), **more, **about("redis")}
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main())
