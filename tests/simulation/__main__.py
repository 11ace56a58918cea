"""`python -m tests.simulation --seed 7` shows a run again; `--seconds 60` runs new seeds for so long."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from redis import Redis

from tests.redis_server import RedisServer
from tests.simulation.shrink import shrunk, story
from tests.simulation.world import Outcome, World

STORY = 60
#: Jobs of a farm, one of these by its seed: small ones meet more beginnings and ends, large ones more lives a second.
NUM_JOBS = (40, 80, 400, 1000)


@dataclass(frozen=True)
class Tally:
    """What a process has run."""

    num_farms: int
    num_lives: int
    #: Answers of the scripts that were the model's too.
    num_compared: int
    #: The farm that broke a promise.
    broken: Outcome | None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, help="the first seed of many (default: drawn)")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=0, help="jobs of each farm (default: by its seed)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scripts", action="store_true", help="ask the scripts on a real server beside the model")
    said = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a run
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    if said.seed is not None:
        return show(said.seed, said.jobs or num_jobs_of(said.seed), with_scripts=said.scripts)
    first = said.first if said.first is not None else int.from_bytes(os.urandom(5), "big")
    return run_many(first, said.processes, said.jobs, said.seconds, with_scripts=said.scripts)


def num_jobs_of(seed: int) -> int:
    """Return how many jobs a seed's farm has."""
    return Random(f"jobs of {seed}").choice(NUM_JOBS)


def show(seed: int, num_jobs: int, *, with_scripts: bool = False) -> int:
    """Run one farm and print its end; return 1 if it broke a promise."""
    with a_server(with_scripts) as server:
        world = World(seed, num_jobs=num_jobs, keeps_story=True, server=server)
        outcome = world.run()
        print(*outcome.story[-STORY:], sep="\n")
        print(tell(outcome))
        if outcome.violation:
            tell_shortest(world, outcome)
    return bool(outcome.violation)


def run_many(first: int, num_processes: int, num_jobs: int, seconds: float, *, with_scripts: bool = False) -> int:
    """Run farms of new seeds in several processes and print what they were; return 1 if one broke a promise."""
    begun_s = time.monotonic()
    end_s = begun_s + seconds
    run = partial(run_some, step=num_processes, num_jobs=num_jobs, end_s=end_s, with_scripts=with_scripts)
    with multiprocessing.Pool(num_processes) as pool:
        tallies = pool.map(run, range(first, first + num_processes), chunksize=1)
    took_s, num_lives = time.monotonic() - begun_s, sum(tally.num_lives for tally in tallies)
    print(
        f"seeds from {first} on: {sum(tally.num_farms for tally in tallies)} farms, {num_lives:,} job lives,", end=" "
    )
    print(f"{60 * num_lives / took_s:,.0f} a minute of {num_processes} processes")
    if with_scripts:
        print(f"{sum(tally.num_compared for tally in tallies):,} answers of the scripts are the model's")
    broken = [tally.broken for tally in tallies if tally.broken]
    for outcome in broken:
        print(tell(outcome), flush=True)
    for outcome in broken[:1]:
        with a_server(with_scripts) as server:
            world = World(outcome.seed, num_jobs=num_jobs or num_jobs_of(outcome.seed), server=server)
            tell_shortest(world, outcome)
    return bool(broken)


def run_some(seed: int, step: int, num_jobs: int, end_s: float, *, with_scripts: bool = False) -> Tally:
    """Run farms of each step'th seed until a time, or until one breaks a promise."""
    gc.freeze()
    gc.disable()  # looking for garbage takes a third of the time: between two farms is soon enough
    num_farms = num_lives = num_compared = 0
    with a_server(with_scripts) as server:
        while True:
            world = World(seed, num_jobs=num_jobs or num_jobs_of(seed), server=server)
            outcome = world.run()
            num_farms, num_lives, seed = num_farms + 1, num_lives + outcome.num_jobs, seed + step
            num_compared += world.twin.num_compared if world.twin else 0
            if outcome.violation or time.monotonic() >= end_s:
                return Tally(num_farms, num_lives, num_compared, outcome if outcome.violation else None)
            gc.collect()


@contextmanager
def a_server(is_wanted: bool) -> Iterator[Redis | None]:
    """Run a real server for the scripts, where they are to be asked."""
    if not is_wanted:
        yield None
        return
    with TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server.client()
        finally:
            server.stop()


def tell_shortest(world: World, outcome: Outcome) -> None:
    """Print the smallest farm that breaks the same promise, and its story."""
    smallest = shrunk(world, outcome.violation)
    print("\nthe smallest that breaks it:", tell(smallest), *story(smallest), sep="\n")


def tell(outcome: Outcome) -> str:
    """Return what a run was, in lines."""
    lines = [
        f"seed {outcome.seed}: {outcome.num_jobs} jobs, {outcome.num_turns:,} turns, {outcome.virtual_s} virtual s",
        f"{outcome.num_drawn} pictures, {outcome.num_steps} steps; trace {outcome.trace}",
        f"mix: {outcome.mix}",
    ]
    if outcome.violation:
        again = f"python -m tests.simulation --seed {outcome.seed} --jobs {outcome.num_wanted}"
        again += " --scripts" if outcome.with_scripts else ""
        lines += [f"VIOLATION: {outcome.violation}", f"again: {again}"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
