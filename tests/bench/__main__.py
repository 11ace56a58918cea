"""Every benchmark behind the table of goals, then the table: `python -m tests.bench`, which `make bench` runs.

    python -m tests.bench [--quick] [--device cpu|cuda] [--out FOLDER]

`--quick` makes one small round of each, to see that they run: its figures mean little. On a CPU the model is the
bundled one, on a GPU Stable Diffusion 1.5 at full size with random weights. Each benchmark is a program of its own and
appends its lines to a file of the folder (tests/bench/results/ unless said), from which the table is made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.bench import goals

HERE = Path(__file__).parent


def commands(device: str, *, is_quick: bool) -> dict[str, list[str]]:
    """Return the programs, by the name of their results."""
    on_gpu = device.startswith("cuda")
    engine = ["tests.bench.engine_bench", "--size", "sd15" if on_gpu else "tiny", "--device", device]
    race = ["tests.bench.race", "--model", "sd15" if on_gpu else "bundled", "--device", device]
    race += ["--compile"] if on_gpu else []
    few = {
        "engine": ["--images", "8", "--steps", "4", "--rounds", "1"],
        "race": ["--jobs", "6", "--scale", "0.1", "--arrivals", "6", "--several-jobs", "24", "--rounds", "1"],
        "first_step": ["--rounds", "1"],
        "submit": ["--jobs", "1000", "--rounds", "1"],
    }
    whole = {
        "engine": engine,
        "race": race,
        "first_step": ["tests.bench.first_step_bench"],
        "submit": ["tests.bench.submit_bench"],
    }
    return {name: [*line, *(few[name] if is_quick else [])] for name, line in whole.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    on_gpu = args.device.startswith("cuda")
    files = []
    for name, line in commands(args.device, is_quick=args.quick).items():
        files.append(args.out / f"{name}.jsonl")
        print(f"{name} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", *line, "--out", str(files[-1])], cwd=HERE.parents[1], check=True)
    print(goals.table(goals.read(files), on_gpu=on_gpu))


if __name__ == "__main__":
    sys.exit(main())
