"""The same jobs and the same faults on job queues of Python and on this farm: what is lost, doubled, late.

    python -m tests.bench.queues [--jobs 1000] [--seeds 1 2 3] [--only arq ...] [--out FILE.jsonl] [--venv FOLDER]

1,000 jobs of 0.3 s on two workers of eight each; 15 faults: workers killed, ended, frozen, cut off, the broker killed
and frozen, in an order of the seed's own. Workers and brokers that died are started again at once. The broker is a
Valkey with `appendfsync everysec`, as the farm runs it. Each contender is set up as its documentation says for jobs
that must not be lost (contenders.py), in an environment of the comparison's own. Prints a table and a JSON line a run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.about import about
from tests.bench.queues import ours
from tests.bench.queues.contenders import CONTENDERS, Contender
from tests.bench.queues.faults import Fault, drawn
from tests.bench.queues.stage import NUM_WORKERS, ROOT, Outcome, Stage, Workers, environment

OURS = "sigmafarm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", choices=[*(c.name for c in CONTENDERS), OURS])
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "sigmafarm-queues")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    chosen = [c for c in CONTENDERS if not args.only or c.name in args.only]
    python = prepared(args.venv, chosen)
    print(f"{'':20} {'seed':>4} {'lost':>5} {'doubled':>8} {'in vain':>8} {'seconds':>8} {'longest gap s':>14}")
    for seed in args.seeds:
        faults = drawn(seed, NUM_WORKERS)
        for contender in chosen:
            outcome = raced(contender, python, faults, args.jobs)
            tell(contender.name, seed, outcome, args.out, {"setup": contender.setup, "packages": versions(python)})
        if not args.only or OURS in args.only:
            with tempfile.TemporaryDirectory() as name:
                stage = Stage(Path(name))
                outcome = ours.run(Path(name), stage, faults, args.jobs)
                stage.close()
            tell(OURS, seed, outcome, args.out, {"setup": "its defaults"})


def prepared(folder: Path, contenders: Sequence[Contender]) -> Path:
    """Make an environment with what all contenders need, unless it is there; return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        wanted = sorted({package for each in contenders for package in each.packages})
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


def raced(contender: Contender, python: Path, faults: Sequence[Fault], num_jobs: int) -> Outcome:
    """Run one contender from its submit to its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage = Stage(folder)

        def start(number: int) -> subprocess.Popen[bytes]:
            log = (folder / f"worker-{number}.log").open("ab")
            with log:
                told = environment(stage, number, contender.environ)
                return subprocess.Popen(
                    [python, *contender.worker], env=told, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
                )

        workers = Workers(start)
        time.sleep(3.0)  # all are up, or nearly: what is late is late for every contender
        began_s = time.time()
        told = environment(stage, 0, contender.environ)
        subprocess.run([python, *contender.submit, str(num_jobs)], env=told, cwd=ROOT, check=True)
        outcome = stage.run(faults, workers, num_jobs, began_s)
        workers.end()
        stage.close()
        return outcome


def versions(python: Path) -> dict[str, str]:
    """Return what is installed beside the contenders."""
    said = subprocess.run([python, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True)
    return {each["name"]: each["version"] for each in json.loads(said.stdout)}


def tell(name: str, seed: int, outcome: Outcome, out: Path | None, more: dict[str, Any]) -> None:
    seconds = "never" if outcome.seconds is None else f"{outcome.seconds:.1f}"
    print(
        f"{name:20} {seed:4} {outcome.num_lost:5} {outcome.num_doubled:8} {outcome.num_begun_in_vain:8} {seconds:>8} "
        f"{outcome.longest_gap_s:14.1f}",
        flush=True,
    )
    if out:
        line = {"bench": "queues", "contender": name, "seed": seed, **outcome.said(), **more, **about("redis")}
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main())
