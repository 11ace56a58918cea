"""Who joins, and which lane steps next: the engine's own policy (batching.py) beside others, in virtual time.

    python tests/bench/lane_policy.py [--jobs 400] [--out tests/bench/results/lane_policy.jsonl]

Nothing is drawn. A pass over R rows of a size takes max(floor, row x R x area): the launches of its kernels, or their
work; or what each of R rows was measured to cost. One worker of 16 slots that holds 4 jobs more. Policies:

    ours     batching.py and admission.py: step-level batching in lanes by size, as many rows as the machine gains by
    all      the same, but whoever comes joins at once as long as there is a slot
    static   up to 16 jobs of one size, number of steps, guidance; the kind whose first waits longest; to its end
    padded   up to 16 jobs of one size, whatever their steps; to the end of the longest
    single   one job at a time

Prints a table of pictures a second of a backlog, and of latencies where jobs come at random, and one JSON line.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm_worker.engine.admission import Demand, RowCosts, joining  # noqa: E402 - after the path
from sigmafarm_worker.engine.batching import Batching  # noqa: E402
from tests.bench.about import about, put_down  # noqa: E402
from tests.bench.race.loads import LOADS, Asked, arrivals  # noqa: E402

SLOTS, LOOKAHEAD, NATIVE = 16, 4, 512
#: Shares of what `static` can draw at which jobs come.
RATES = (0.2, 0.5, 0.8, 0.9, 1.1)


@dataclass(frozen=True)
class Machine:
    """What a pass costs, in seconds: at least, and for each row of native size; and how often that where only 1, 2, 3
    and so on are drawn together."""

    name: str
    floor_s: float
    row_s: float
    by_rows: tuple[float, ...] = ()

    def pass_s(self, num_rows: int, side: int) -> float:
        times = self.by_rows[num_rows - 1] if num_rows <= len(self.by_rows) else 1.0
        return max(self.floor_s, self.row_s * times * num_rows * (side / NATIVE) ** 2)


#: What an engine learned of the bundled model's passes on the machine of the race, while its speed doubled and halved.
LEARNED = Machine("the race's core, learned", 0.0, 0.0073, (2.0, 1.6, 1.2, 1.15, 1.05))
#: Estimated for Stable Diffusion 1.5 in fp16 (graphs of small passes), and a core whose work is all in the rows.
MACHINES = (Machine("H200, estimated", 0.005, 0.0024), Machine("a CPU core", 0.0003, 0.007), LEARNED)


@dataclass(eq=False)
class Job:
    asked: Asked
    comes_s: float
    left: int
    ends_s: float = 0.0

    @property
    def demand(self) -> Demand:
        return Demand(self.asked.num_rows, self.left)


def jobs_of(asked: Sequence[Asked], times_s: Sequence[float]) -> list[Job]:
    return [Job(each, at_s, each.num_inference_steps) for each, at_s in zip(asked, times_s, strict=True)]


class Arriving:
    """Jobs that come in their order, and what of them is there."""

    def __init__(self, jobs: Sequence[Job]):
        self._coming = deque(jobs)
        self.there: deque[Job] = deque()

    def until(self, now_s: float) -> None:
        while self._coming and self._coming[0].comes_s <= now_s:
            self.there.append(self._coming.popleft())

    def next_s(self) -> float | None:
        return self._coming[0].comes_s if self._coming else None


def num_slots(side: int) -> int:
    """Return the slots of a lane, as Stepper.capacity does."""
    return max(1, int(SLOTS * min(1.0, (NATIVE / side) ** 2)))


def by_steps(jobs: Sequence[Job], machine: Machine, *, is_learning: bool = True) -> None:
    """Draw them all with batching.py; with `is_learning`, admission.py says who joins."""
    arriving, now_s, num_held = Arriving(jobs), 0.0, 0
    lanes: Batching[int, Job] = Batching(num_slots)
    costs: RowCosts[int] = RowCosts()

    def chosen(side: int, waiting: Sequence[Job]) -> list[int]:
        inside = [job.demand for job in lanes.inside(side)]
        asked, enough = [job.demand for job in waiting], costs.enough_rows(side, len(waiting))
        return joining(inside, asked, num_slots=num_slots(side), enough_rows=enough)

    while True:
        arriving.until(now_s)
        while arriving.there and num_held < SLOTS + LOOKAHEAD:
            job = arriving.there.popleft()
            lanes.add(job.asked.side, job)
            num_held += 1
        side = lanes.next_lane()
        if side is None:
            if (next_s := arriving.next_s()) is None:
                return
            now_s = next_s
            continue
        lanes.admit(side, (lambda waiting, side=side: chosen(side, waiting)) if is_learning else None)
        inside = lanes.inside(side)
        num_rows = sum(job.asked.num_rows for job in inside)
        pass_s = machine.pass_s(num_rows, side)
        costs.note(side, num_rows, pass_s)
        now_s += pass_s
        done = []
        for job in inside:
            job.left -= 1
            if not job.left:
                job.ends_s = now_s
                done.append(job)
        if done:
            lanes.remove(side, done)
            num_held -= len(done)


def in_batches(key: Callable[[Job], Any], most: int) -> Callable[[Sequence[Job], Machine], None]:
    """Return a policy that draws up to so many jobs of one key together, to the end of the longest."""

    def policy(jobs: Sequence[Job], machine: Machine) -> None:
        arriving, now_s = Arriving(jobs), 0.0
        while True:
            arriving.until(now_s)
            if not arriving.there:
                if (next_s := arriving.next_s()) is None:
                    return
                now_s = next_s
                continue
            wanted = key(arriving.there[0])
            batch = [job for job in arriving.there if key(job) == wanted][:most]
            arriving.there = deque(job for job in arriving.there if job not in batch)
            num_rows, side = sum(job.asked.num_rows for job in batch), batch[0].asked.side
            now_s += max(job.left for job in batch) * machine.pass_s(num_rows, side)
            for job in batch:
                job.ends_s = now_s

    return policy


POLICIES: Mapping[str, Callable[[Sequence[Job], Machine], None]] = {
    "ours": by_steps,
    "all": partial(by_steps, is_learning=False),
    "static": in_batches(lambda job: job.asked.key, SLOTS),
    "padded": in_batches(lambda job: (job.asked.side, job.asked.num_rows), SLOTS),
    "single": in_batches(id, 1),
}


def backlog(load: str, num: int, machine: Machine) -> dict[str, float]:
    """Return the pictures a second of each policy, all jobs there at once."""
    found = {}
    for name, policy in POLICIES.items():
        jobs = jobs_of(LOADS[load](num, NATIVE), [0.0] * num)
        policy(jobs, machine)
        found[name] = round(num / max(job.ends_s for job in jobs), 4)
    return found


def latencies(load: str, num: int, machine: Machine, capacity: float) -> Iterator[dict[str, Any]]:
    """Yield for each rate the median and p99 latency of each policy, in seconds."""
    for share in RATES:
        line: dict[str, Any] = {"rate": share}
        for name, policy in POLICIES.items():
            jobs = jobs_of(LOADS[load](num, NATIVE), arrivals(num, share * capacity))
            policy(jobs, machine)
            cuts = statistics.quantiles([job.ends_s - job.comes_s for job in jobs], n=100, method="inclusive")
            line[name] = {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}
        yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for machine in MACHINES:
        for load in LOADS:
            rates = backlog(load, args.jobs, machine)
            waits = list(latencies(load, args.jobs, machine, rates["static"]))
            found.setdefault(machine.name, {})[load] = {"images_per_s": rates, "latencies_s": waits}
            print(f"{machine.name}, {load}: pictures a second", "  ".join(f"{n} {r:.3f}" for n, r in rates.items()))
            for line in waits:
                said = "  ".join(f"{name} {line[name]['p50']:7.1f} {line[name]['p99']:7.1f}" for name in POLICIES)
                print(f"  at {line['rate']:.1f} of static: p50 and p99 in s: {said}")
    put_down({"bench": "lane_policy", "jobs": args.jobs, "slots": SLOTS, "machines": found, **about()}, args.out)


if __name__ == "__main__":
    main()
