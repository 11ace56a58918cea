"""How fast the engine of this checkout draws beside that of another: the same requests, in turns, in one run.

    python tests/bench/versions_bench.py BEFORE [--rounds 9] [--out tests/bench/results/engine_versions.jsonl]

BEFORE is a folder with another checkout, such as `git worktree add BEFORE b1154b2`. Each checkout draws in a process of
its own, by its own engine_bench.py: `homogeneous` (20 steps, guidance 7.5) and `mixed` (20 to 80 steps, guidance 1, 4
and 7.5), tiny random checkpoint, CPU, one thread. In each round both draw the same, who begins takes turns; what counts
is the process's own CPU time, as a ratio after / before by pairs. Prints one JSON line a setting.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SETTINGS = ("homogeneous", "mixed")
#: Draws whatever setting comes as a line, and answers with its seconds.
Drawer = Callable[[str], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("--after", type=Path, default=ROOT, help="another checkout instead of this one")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--draw", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.draw:
        answer_draws(args.before, args.images)
        return
    for line in compare(args):
        print(json.dumps(line), flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(json.dumps(line) + "\n")


def compare(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a line for each setting, with the seconds of every round."""
    with start_drawer(args.before, args.images) as before, start_drawer(args.after, args.images) as after:
        for setting in SETTINGS:
            seconds: dict[str, list[float]] = {"before": [], "after": []}
            for n in range(-1, args.rounds):  # the first round warms both up
                for name in seconds if n % 2 else reversed(seconds):
                    found_s = {"before": before, "after": after}[name](setting)
                    if n >= 0:
                        seconds[name].append(found_s)
            yield {**describe(args), "setting": setting, **summary(seconds)}


def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
    ratios = [after / before for before, after in zip(seconds["before"], seconds["after"], strict=True)]
    return {
        "seconds": {name: [round(s, 3) for s in each] for name, each in seconds.items()},
        "after_over_before": round(statistics.median(ratios), 3),
        "least_and_most": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def describe(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "bench": "engine_versions",
        "before": commit_of(args.before),
        "after": commit_of(args.after),
        "images": args.images,
        "rounds": args.rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "diffusers")},
    }


def commit_of(folder: Path) -> str:
    """Return the commit of a checkout."""
    described = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(described, capture_output=True, text=True, cwd=folder, check=True).stdout.strip()


@contextmanager
def start_drawer(tree: Path, images: int) -> Iterator[Drawer]:
    """Start the process that draws with a checkout's engine."""
    path = os.pathsep.join(str(tree.resolve() / part) for part in ("common", "worker"))
    command = [sys.executable, __file__, str(tree.resolve()), "--images", str(images), "--draw"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environ = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environ, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        talk, listen = process.stdin, process.stdout

        def draw(setting: str) -> float:
            print(setting, file=talk, flush=True)
            return float(listen.readline())

        yield draw
        talk.close()


def answer_draws(tree: Path, images: int) -> None:
    """Draw each setting that is named on stdin, by the checkout's own benchmark, and print its CPU seconds."""
    spec = importlib.util.spec_from_file_location("engine_bench", tree / "tests/bench/engine_bench.py")
    assert spec is not None
    assert spec.loader is not None
    theirs: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    theirs.torch.set_num_threads(1)
    sys.argv = ["engine_bench.py", "--images", str(images), "--steps", "20"]
    with tempfile.TemporaryDirectory() as folder:
        theirs.make_random_checkpoint(folder)
        bench = theirs.Bench(Path(folder), theirs.parsed_arguments(), theirs.torch.float32)
        engine = theirs.Engine(bench.model, theirs.MAX_IMAGES)
        engine.warm_up()
        requests = {setting: getattr(bench, setting)() for setting in SETTINGS}
        for line in sys.stdin:
            seconds = theirs.timed(lambda some: bench.draw_continuous(engine, some), requests[line.strip()])
            print(seconds, flush=True)


if __name__ == "__main__":
    main()
