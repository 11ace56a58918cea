"""A job that kills its worker each time it is drawn: it ends failed, and takes nobody with it.

The mechanism is `claim` with `losses_to_be_alone`; tests/common/contracts/alone.py plays the same story on both stores,
and fails there when that number is out of reach. The engine is simulated: three torch processes say no more.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import pytest

from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import ChaosFarm
from tests.limits import until

pytestmark = pytest.mark.slow

NUM_JOBS, POISON_ROW = 16, 5


def kill_its_worker(farm: ChaosFarm, job_id: str, killed: list[str]) -> None:
    """Kill the worker in which a job is drawn, once a step of it was seen."""
    job = farm.store.job(job_id)
    if job.state is not JobState.RUNNING or job.step == 0 or job.worker in killed:
        return
    for worker in farm.store.workers():
        if worker.id == job.worker:
            killed.append(worker.id)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)


def test_poison_job_fails_alone_and_takes_no_neighbour_to_the_limit(
    make_simulated: Callable[..., ChaosFarm],
) -> None:
    farm = make_simulated(max_losses=3, step_s=0.05)
    farm.start_workers(1)
    steps = [1000 if n == POISON_ROW else 20 for n in range(NUM_JOBS)]
    batch_id = farm.submit({"prompt": f"prompt {n}", "num_inference_steps": s} for n, s in enumerate(steps))
    poison, killed = f"{batch_id}-{POISON_ROW:06d}", list[str]()

    def is_done() -> bool:
        kill_its_worker(farm, poison, killed)
        return farm.store.batch(batch_id).counts.is_done

    until(is_done, "every job has ended")

    jobs = farm.store.jobs(batch_id, limit=NUM_JOBS)
    assert farm.states(batch_id) == {JobState.SUCCEEDED: NUM_JOBS - 1, JobState.FAILED: 1}
    assert [(j.id, j.error_code, j.losses) for j in jobs if j.state is JobState.FAILED] == [(poison, "lost", 3)]
    assert len(killed) == farm.config.max_losses
    neighbours = [j.losses for j in jobs if j.id != poison]
    assert max(neighbours) < farm.config.max_losses
    assert sum(neighbours) > 0, "the poison had company at first"
