"""Makes a run that failed as small as it will get: fewer jobs, machines and faults. Then tells its story.

Whatever is taken away changes what the seed draws from there on, so that each smaller farm is tried with some seeds; it
counts if the same kind of promise breaks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from redis import Redis

from tests.simulation.faults import Mix
from tests.simulation.world import Outcome, World

#: Seeds that each smaller farm is tried with.
SEEDS_A_TRY = 8
#: Seconds after which the smallest farm so far is small enough: who waits for it has a limit too.
SHRINK_S = 60.0
#: Events of a story.
STORY_EVENTS = 20
NUMBERS = re.compile(r"[0-9a-z]{15}-\d{6}|[wsua]\d+\.\d+|[pc]\d+|client \d+|[\d.]+")
#: What is told beside the events of the job itself.
OF_ALL = re.compile(
    r" is killed| freezes| thaws| is poisoned|the store is away|object store refuses|all heals| is told to end"
    r"|lost its newest writes| dies while it submits| loses its connection| is gone and is submitted again"
)


@dataclass(frozen=True)
class Size:
    """A farm that may fail."""

    num_jobs: int
    num_machines: int
    mix: Mix

    def smaller(self) -> Iterator[Size]:
        """Yield what is less of it, the largest step first."""
        for num in (1, 2, self.num_jobs // 4, self.num_jobs // 2, self.num_jobs - 1):
            if 0 < num < self.num_jobs:
                yield replace(self, num_jobs=num)
        for num in range(1, self.num_machines):
            yield replace(self, num_machines=num)
        for field in fields(Mix):
            if getattr(self.mix, field.name):
                yield replace(self, mix=replace(self.mix, **{field.name: 0.0}))


def shrunk(failed: World, violation: str) -> Outcome:
    """Return the outcome of the smallest farm found that breaks the same kind of promise, with all that happened."""
    best = Size(failed.num_jobs, len(failed.machines), failed.drawn_mix)
    seed, end_s = failed.seed, time.monotonic() + SHRINK_S
    while found := _smaller(best, seed, violation, failed.server, end_s):
        best, seed = found
    return _world(best, seed, failed.server).run()


def story(outcome: Outcome) -> list[str]:
    """Return the last events that have to do with what broke, in the order in which they happened."""
    job = re.search(r"[0-9a-z]{15}-\d{6}", outcome.violation)
    told = [line for line in outcome.story if (job and job[0] in line) or OF_ALL.search(line)]
    return [*told[-STORY_EVENTS:], outcome.violation]


def _smaller(best: Size, first: int, violation: str, server: Redis | None, end_s: float) -> tuple[Size, int] | None:
    """Return a smaller farm that fails alike, and its seed; None if there is none, or none by a time."""
    for size in best.smaller():
        for seed in range(first, first + SEEDS_A_TRY):
            if time.monotonic() > end_s:
                return None
            if _kind(_world(size, seed, server).run().violation) == _kind(violation):
                return size, seed
    return None


def _world(size: Size, seed: int, server: Redis | None) -> World:
    return World(
        seed,
        num_jobs=size.num_jobs,
        num_machines=size.num_machines,
        mix=size.mix,
        keeps_story=True,
        server=server,
    )


def _kind(violation: str) -> str:
    """Return a violation without its names and numbers; of a server that answers otherwise, the question alone."""
    question, is_difference, _ = violation.partition(": Redis says ")
    return question.partition("(")[0] if is_difference else NUMBERS.sub("", violation)
