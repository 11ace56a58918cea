"""A farm that is reckoned, not run: slots that step together, jobs of mixed steps, of which some fail. Its time is a
number, and its pace is counted as the store counts it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from sigmafarm_common.records import Batch, Counts, WorkerInfo
from sigmafarm_common.store.values import PACE_S, Pace

#: Megapixels of each picture.
MEGAPIXELS = 0.25


@dataclass
class _Drawn:
    """A job in a slot: its steps, and those after which it ends or fails."""

    steps: int
    ends_at: int
    tries_left: int
    is_good: bool
    done: int = 0

    @property
    def cost(self) -> float:
        return self.steps * MEGAPIXELS


@dataclass
class SimulatedFarm:
    """One batch on one worker, from its submit to its end: `for _ in farm.moments(): farm.batch, farm.pace`."""

    steps: list[int]
    num_slots: int = 16
    #: Seconds of a step of all slots, and how much one differs from the next, as a part of it.
    step_s: float = 0.5
    jitter: float = 0.1
    #: Parts of the jobs that fail for good, and of the tries that are made again.
    failing: float = 0.0
    erring: float = 0.0
    #: From a second on, steps take so many times as long.
    slower: tuple[float, float] = (float("inf"), 1.0)
    seed: int = 1
    now_s: float = 1_000_000.0
    pictures: dict[int, list[float]] = field(default_factory=dict[int, list[float]])

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._queue = deque(self._job(steps, 2) for steps in self.steps)
        self._slots: list[_Drawn] = []
        self._begun_s = self.now_s

    def _job(self, steps: int, tries_left: int) -> _Drawn:
        luck = self._chance.random()
        early = self._chance.randint(1, steps)
        if luck < self.failing:
            return _Drawn(steps, early, 0, is_good=False)
        if luck < self.failing + self.erring and tries_left:
            return _Drawn(steps, early, tries_left, is_good=False)
        return _Drawn(steps, steps, 0, is_good=True)

    def moments(self) -> Iterator[float]:
        """Yield the time after each step until all is over."""
        while self._queue or self._slots:
            while self._queue and len(self._slots) < self.num_slots:
                self._slots.append(self._queue.popleft())
            passed_s = self.now_s - self._begun_s
            factor = self.slower[1] if passed_s >= self.slower[0] else 1.0
            self.now_s += self.step_s * factor * self._chance.uniform(1 - self.jitter, 1 + self.jitter)
            for job in self._slots:
                job.done += 1
            for job in [job for job in self._slots if job.done == job.ends_at]:
                self._end(job)
            yield self.now_s

    def _end(self, job: _Drawn) -> None:
        self._slots.remove(job)
        if job.tries_left and not job.is_good:
            self._queue.appendleft(self._job(job.steps, job.tries_left - 1))
            return
        slot = self.pictures.setdefault(int(self.now_s // PACE_S), [0, 0.0])
        slot[0] += job.is_good
        slot[1] += job.cost

    @property
    def pace(self) -> list[Pace]:
        """What the store would tell of it."""
        return [Pace(n * PACE_S * 1000, int(num), cost) for n, (num, cost) in sorted(self.pictures.items())]

    @property
    def batch(self) -> Batch:
        """Its batch as it stands."""
        counts = Counts(queued=len(self._queue), running=len(self._slots))
        open_cost = sum(job.cost for job in (*self._queue, *self._slots))
        about = {"id": "b", "name": "", "owner": "ann", "priority": 0, "is_paused": False, "created_ms": 1}
        return Batch(**about, counts=counts, open_cost=open_cost)

    @property
    def worker(self) -> WorkerInfo:
        about = {"host": "h", "pid": 1, "device": "cpu", "lookahead": 4}
        return WorkerInfo(id="w", models=("m",), slots=self.num_slots, **about)
