"""`python -m tests.simulation --seed 7` shows a run again; `--seconds 60` runs new seeds for so long."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.shrink import shrunk, story
from tests.simulation.world import NUM_JOBS, Outcome, World

STORY = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, help="the first seed of many (default: drawn)")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=NUM_JOBS)
    said = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a run
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    if said.seed is not None:
        world = World(said.seed, num_jobs=said.jobs, keeps_story=True)
        outcome = world.run()
        print(*outcome.story[-STORY:], sep="\n")
        print(tell(outcome))
        if outcome.violation:
            tell_shortest(world, outcome)
        return bool(outcome.violation)
    first = said.first if said.first is not None else int.from_bytes(os.urandom(5), "big")
    begun_s, num_lives, num_runs, seed = time.monotonic(), 0, 0, first
    while time.monotonic() - begun_s < said.seconds:
        world = World(seed, num_jobs=said.jobs)
        outcome = world.run()
        num_lives, num_runs, seed = num_lives + outcome.num_jobs, num_runs + 1, seed + 1
        if outcome.violation:
            print(tell(outcome))
            tell_shortest(world, outcome)
            return 1
    took_s = time.monotonic() - begun_s
    print(f"seeds {first} to {seed - 1}: {num_runs} farms, {num_lives:,} job lives,", end=" ")
    print(f"{60 * num_lives / took_s:,.0f} a minute")
    return 0


def tell_shortest(world: World, outcome: Outcome) -> None:
    """Print the smallest farm that breaks the same promise, and its story."""
    smallest = shrunk(world, outcome.violation)
    print("\nthe smallest that breaks it:", tell(smallest), *story(smallest), sep="\n")


def tell(outcome: Outcome) -> str:
    """Return what a run was, in lines."""
    lines = [
        f"seed {outcome.seed}: {outcome.num_jobs} jobs, {outcome.num_turns:,} turns, {outcome.virtual_s} virtual s"
    ]
    lines += [f"{outcome.num_drawn} pictures, {outcome.num_steps} steps; trace {outcome.trace}", f"mix: {outcome.mix}"]
    lines += (
        [f"VIOLATION: {outcome.violation}", f"again: python -m tests.simulation --seed {outcome.seed}"]
        if outcome.violation
        else []
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
