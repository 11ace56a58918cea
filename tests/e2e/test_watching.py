"""Watching a farm of real processes: previews come while somebody looks; a drained worker leaves calls to others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import ChaosFarm
from tests.limits import until

pytestmark = pytest.mark.slow


@pytest.fixture
def farm(make_simulated: Callable[..., ChaosFarm]) -> ChaosFarm:
    """Workers around simulated engines: slow enough to be looked at."""
    return make_simulated(step_s=0.05)


def test_preview_and_step_come_while_somebody_looks_and_go_with_the_job(farm: ChaosFarm) -> None:
    farm.start_workers(1)
    batch_id = farm.submit_and_draw(1, 1, num_inference_steps=1000)
    job_id = farm.jobs(batch_id)[0].id
    assert farm.store.preview(job_id) is None

    farm.store.want_previews(60)
    until(lambda: farm.store.preview(job_id), "a preview is shown")
    first = farm.store.preview(job_id)
    until(lambda: farm.store.preview(job_id) != first, "a newer one is shown")

    farm.store.cancel_batch(batch_id)
    until(lambda: not farm.store.workers()[0].num_jobs, "the worker let go of it")
    assert farm.store.preview(job_id) is None


def test_drained_worker_ends_what_it_has_and_takes_no_more_until_it_may(farm: ChaosFarm) -> None:
    one, two = farm.start_workers(2)
    farm.store.drain_worker(one.id)
    batch_id = farm.submit(12)
    farm.end_and_check(batch_id)
    assert {job.worker for job in farm.jobs(batch_id)} == {two.id}

    farm.store.drain_worker(one.id, is_draining=False)
    farm.store.drain_worker(two.id)
    again = farm.submit(12)
    farm.end_and_check(again)

    drawn_by = {job.worker for job in farm.jobs(again)}
    assert drawn_by == {one.id}
    assert farm.states(again) == {JobState.SUCCEEDED: 12}
    assert {w.id for w in farm.store.workers()} == {one.id, two.id}
