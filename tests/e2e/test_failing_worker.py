"""A worker whose jobs keep failing: it stops taking them, says why, ends, and is replaced; no other job is lost by it.

The engine is simulated. That a failing pass of the real one is an error of each job in it says
tests/worker/engine/test_failing.py; when a worker calls itself broken, tests/worker/service/test_streak.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import ChaosFarm
from tests.limits import until

pytestmark = pytest.mark.slow


def test_failing_worker_hands_back_says_why_and_is_replaced(make_simulated: Callable[..., ChaosFarm]) -> None:
    farm = make_simulated(max_images=2, lookahead=1, max_failures=2)
    batch_id = farm.submit(["broken 0", "broken 1", *(f"prompt {n}" for n in range(10))])

    farm.start_worker()
    farm.wait_for_batch(batch_id)

    jobs = farm.jobs(batch_id)
    spent = [job for job in jobs if job.state is JobState.FAILED]
    assert [(job.request.prompt, job.attempts) for job in spent] == [("broken 0", 1), ("broken 1", 1)]
    assert all("asked for by its prompt" in job.error for job in spent)
    assert farm.states(batch_id) == {JobState.SUCCEEDED: 10, JobState.FAILED: 2}
    assert {job.losses for job in jobs} == {0}
    until(lambda: "exit_code=4" in farm.logs().replace(" ", ""), "the supervisor has noted its end")
    assert "worker keeps failing" in farm.logs()
    assert {job.worker for job in jobs if job.state is JobState.SUCCEEDED} != {spent[0].worker}
