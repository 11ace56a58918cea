"""How much more a row may cost for its number to be enough: the engine's own admission with tolerances beside each
other, while few wait and while more do, in virtual time.

    python tests/bench/admission_policy.py [--jobs 240] [--orders 8] [--out tests/bench/results/admission_policy.jsonl]

Jobs of the mixed load come at random at shares of what static batches can draw, in several orders of arrival. Machines:
a start and so much for each row, small, middle and large; and what an engine learned of a real one (lane_policy.py).
Prints mean and p99 of the latency over static batches', the mean of the orders, for each tolerance and where whoever
comes joins at once; and one JSON line.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm_worker.engine import admission  # noqa: E402 - after the path
from tests.bench.about import about, put_down  # noqa: E402
from tests.bench.lane_policy import LEARNED, NATIVE, POLICIES, Job, Machine, backlog, jobs_of  # noqa: E402
from tests.bench.race.loads import LOADS  # noqa: E402

#: While few wait, and while more do; None: whoever comes joins at once.
TOLERANCES = (None, (0.05, 0.05), (0.1, 0.1), (0.1, 0.05), (0.2, 0.05))
RATES = (0.2, 0.5, 0.8, 0.9)
ROW_S = 0.0071
#: As many rows as one engine draws at once, and more.
MOST_ROWS = 64


def shaped(start_s: float) -> Machine:
    """Return a machine whose passes take a start, and so much for each row."""
    by_rows = tuple(1 + start_s / (ROW_S * rows) for rows in range(1, MOST_ROWS))
    return Machine(f"{1000 * start_s:g} ms and {1000 * ROW_S:g} ms a row", 0.0, ROW_S, by_rows)


MACHINES = (shaped(0.002), shaped(0.004), shaped(0.010), LEARNED)


def arrivals(num: int, rate: float, order: int) -> list[float]:
    """Return when jobs come, in seconds: a Poisson process, in one of its orders."""
    chance, at_s, found = random.Random(order), 0.0, list[float]()
    for _ in range(num):
        found.append(at_s)
        at_s += chance.expovariate(rate)
    return found


def mean_and_p99(jobs: Sequence[Job]) -> tuple[float, float]:
    """Return what jobs took from coming to done, in seconds."""
    took_s = [job.ends_s - job.comes_s for job in jobs]
    return statistics.mean(took_s), statistics.quantiles(took_s, n=100, method="inclusive")[98]


def over_static(
    machine: Machine, rate: float, tolerances: tuple[float, float] | None, num: int, orders: int
) -> tuple[float, float]:
    """Return mean and p99 over those of static batches, the mean of all orders."""
    found = list[tuple[float, ...]]()
    for order in range(orders):
        times_s = arrivals(num, rate, order)
        seen = list[tuple[float, float]]()
        for policy in ("static", "all" if tolerances is None else "ours"):
            admission.TOLERANCE, admission.TOLERANCE_IN_NEED = tolerances or (0.0, 0.0)
            jobs = jobs_of(LOADS["mixed"](num, NATIVE), times_s)
            POLICIES[policy](jobs, machine)
            seen.append(mean_and_p99(jobs))
        found.append(tuple(ours / static for static, ours in zip(*seen, strict=True)))
    mean, p99 = (round(statistics.mean(each), 2) for each in zip(*found, strict=True))
    return mean, p99


def _said(tolerances: tuple[float, float] | None) -> str:
    return "at once" if tolerances is None else "/".join(map(str, tolerances))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=240)
    parser.add_argument("--orders", type=int, default=8)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for machine in MACHINES:
        capacity = backlog("mixed", args.jobs, machine)["static"]
        for share in RATES:
            line = {
                _said(each): over_static(machine, share * capacity, each, args.jobs, args.orders) for each in TOLERANCES
            }
            found.setdefault(machine.name, {})[str(share)] = line
            said = "  ".join(f"{name}: {mean:.2f} {p99:.2f}" for name, (mean, p99) in line.items())
            print(f"{machine.name}, at {share}: mean and p99 over static: {said}")
    put_down(
        {"bench": "admission_policy", "jobs": args.jobs, "orders": args.orders, "machines": found, **about()}, args.out
    )


if __name__ == "__main__":
    main()
