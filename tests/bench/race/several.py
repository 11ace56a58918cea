"""Several workers with jobs of mixed costs: how long the last picture takes, over what no plan could better.

Real supervisors, workers, keeper and Redis around the engine of tests/chaos that sleeps its steps: the machine has not
the cores for so many real ones, and the question is who gets which job. The bound is Graham's LPT rule (longest
processing time first; R. L. Graham 1969) with all costs known in advance, every slot a machine: the farm knows none.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sigmafarm import Farm
from tests.bench.race.loads import SEED, STEPS
from tests.farm_harness import FarmHarness
from tests.redis_server import RedisServer

NUM_WORKERS, SLOTS, STEP_S = 4, 4, 0.02


def race(folder: Path, num_jobs: int) -> dict[str, Any]:
    """Draw so many jobs of 20 to 80 steps, and return the makespan in steps' time, measured and by LPT."""
    chance = random.Random(SEED)
    costs = [chance.choice(STEPS) for _ in range(num_jobs)]
    folder.mkdir(parents=True)
    server = RedisServer(folder / "redis", has_aof=True, options=("--appendfsync", "everysec"))
    server.start()
    models = folder / "models.toml"
    models.write_text('[models.m]\npath = "m"\ndefaults = { height = 64, width = 64 }\n')
    farm = Simulated(folder, redis_url=server.url, models_file=models, max_images=SLOTS)
    try:
        for _ in range(NUM_WORKERS):
            farm.start_worker()
        farm.wait_for_workers(NUM_WORKERS)
        _draw(farm, [2] * NUM_WORKERS * SLOTS)  # what each process does once
        step_s = _draw(farm, [max(STEPS)] * NUM_WORKERS * SLOTS) / max(STEPS)
        makespan_s = _draw(farm, costs)
    finally:
        farm.close()
        server.stop()
    bound_s = lpt(costs, NUM_WORKERS * SLOTS) * STEP_S
    return {
        "workers": NUM_WORKERS,
        "slots": SLOTS,
        "jobs": num_jobs,
        "makespan_s": round(makespan_s, 3),
        "lpt_s": round(bound_s, 3),
        "makespan_over_lpt": round(makespan_s / bound_s, 4),
        "step_ms": {"asked": 1000 * STEP_S, "of_one_round_in_all_slots": round(1000 * step_s, 2)},
    }


class Simulated(FarmHarness):
    """Engines that sleep."""

    command = (sys.executable, "-m", "tests.chaos.simulated_worker")

    def __init__(self, folder: Path, **settings: object):
        super().__init__(folder, **settings)
        self.environment |= {"CHAOS_STEP_S": str(STEP_S)}


def _draw(farm: FarmHarness, costs: Sequence[int]) -> float:
    """Return the seconds from the answered submit to the last picture stored."""
    with Farm(farm.config) as producer:
        batch = producer.submit([{"prompt": f"job {n}", "num_inference_steps": c} for n, c in enumerate(costs)])
    farm.wait_for_batch(batch.id)
    jobs = farm.store.jobs(batch.id, limit=len(costs))
    return (max(job.finished_ms for job in jobs) - min(job.submitted_ms for job in jobs)) / 1000


def lpt(costs: Sequence[int], num_machines: int) -> int:
    """Return the makespan of the longest-first rule."""
    ends = [0] * num_machines
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(ends, ends[0] + cost)
    return max(ends)
