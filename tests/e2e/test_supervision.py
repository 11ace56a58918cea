"""What a supervisor and its worker owe each other, and a job whose record was spoiled. The engine is not the subject:
workers have a simulated one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest

from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import ChaosFarm, is_alive
from tests.limits import until

pytestmark = pytest.mark.slow

MakeSimulated = Callable[..., ChaosFarm]


def test_frozen_worker_is_replaced_and_its_jobs_go_on(make_simulated: MakeSimulated) -> None:
    farm = make_simulated(stall_s=1.0)
    (worker,) = farm.start_workers(1)
    batch_id = farm.submit_and_draw(8, 1, num_inference_steps=100)

    os.kill(worker.pid, signal.SIGSTOP)

    farm.end_and_check(batch_id)
    assert {j.worker for j in farm.jobs(batch_id)} != {worker.id}


def test_worker_whose_supervisor_was_killed_ends_by_itself(make_simulated: MakeSimulated) -> None:
    farm = make_simulated(drain_s=0.5)
    supervisor = farm.start_worker()
    (worker,) = farm.wait_for_workers(1)

    supervisor.kill()

    until(lambda: not farm.store.workers(), "the orphan has ended")
    until(lambda: not is_alive(worker.pid), "its process is gone")


def test_job_whose_record_was_spoiled_fails_with_the_reason_and_its_neighbours_do_not(
    make_simulated: MakeSimulated,
) -> None:
    farm = make_simulated()
    batch_id = farm.submit(3)
    spoiled = f"{batch_id}-000001"
    farm.store.client.set(f"sigmafarm:job:{spoiled}:request", '{"prompt": "x", "width": 515}')

    farm.start_worker()
    farm.wait_for_batch(batch_id)

    assert farm.states(batch_id) == {JobState.SUCCEEDED: 2, JobState.FAILED: 1}
    assert farm.store.job(spoiled).error_code == "spoiled_record"


def test_worker_on_the_cpu_stands_back_for_the_rest_of_the_farm(make_simulated: MakeSimulated) -> None:
    farm = make_simulated(device="cpu", cpu_niceness=1)
    (worker,) = farm.start_workers(1)

    niceness = [psutil.Process(pid).nice() for pid in (farm.supervisors[0].process.pid, worker.pid)]

    own = psutil.Process().nice()
    assert niceness == [own, own + 1]
