"""The operator's view of a farm of real processes: the checker while it draws and at its end, and the doctor."""

from __future__ import annotations

import os
import signal

import pytest

from sigmafarm import Farm
from sigmafarm_common.check import check_farm
from sigmafarm_common.doctor.examination import examine
from sigmafarm_common.farm_sweep import find_leftovers
from tests.e2e.conftest import LivingFarm
from tests.e2e.test_render import check_pictures
from tests.limits import until

pytestmark = pytest.mark.slow


def test_a_farm_that_lost_a_worker_is_clean_while_it_draws_and_at_its_end(living: LivingFarm):
    (worker,) = living.wait_for_workers(1)
    config, store, objects = living.config, living.store, living.objects
    batch = Farm(config).submit([f"barn {n}" for n in range(24)], defaults={"num_inference_steps": 30})

    until(lambda: store.batch(batch.id).counts.succeeded >= 3, "some pictures are drawn")
    os.kill(worker.pid, signal.SIGKILL)
    alive = check_farm(config, store, objects, is_deep=True, pause_s=0.5)
    doctored = {f.subject: f for f in examine(config, lambda: store, lambda: objects, bundled=None)}
    until(lambda: any(job.losses for job in store.jobs(batch.id, limit=24)), "its jobs are taken back")
    living.wait_for_batch(batch.id)
    living.wait_for_manifest(batch.id)
    ended = check_farm(config, store, objects, is_final=True, is_deep=True, pause_s=0.5)

    check_pictures(living, batch.id)
    assert alive.violations == ()
    assert ended.violations == ()
    assert ended.num_pictures >= 24
    leftovers = find_leftovers(store, objects, older_than_s=0)
    assert (leftovers.objects, leftovers.entries) == ((), ())
    assert len(leftovers.partials) <= 1, "what the killed worker had begun to write"
    for subject in ("Redis version", "Redis eviction", "clock", "object store", "models file", "model tiny", "keeper"):
        assert doctored[subject].grade == "ok", doctored[subject]
