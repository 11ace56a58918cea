"""The operator's view of a farm of real processes: the checker while it draws and at its end, and the doctor."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from sigmafarm import Farm
from sigmafarm_common.check import check_farm
from sigmafarm_common.doctor.examination import examine
from sigmafarm_common.farm_sweep import find_leftovers
from tests.farm_harness import FarmHarness, until

pytestmark = pytest.mark.slow


def test_a_farm_that_lost_a_worker_is_clean_while_it_draws_and_at_its_end(make_farm: Callable[..., FarmHarness]):
    farm = make_farm(max_images=4, lookahead=2)
    farm.start_worker()
    (worker,) = farm.wait_for_workers(1)
    batch = Farm(farm.config).submit([f"barn {n}" for n in range(24)], defaults={"num_inference_steps": 30})

    until(lambda: farm.store.batch(batch.id).counts.succeeded >= 3, "some pictures are drawn")
    os.kill(worker.pid, signal.SIGKILL)
    alive = check_farm(farm.config, farm.store, farm.objects, is_deep=True, pause_s=0.5)
    doctored = {f.subject: f for f in examine(farm.config, lambda: farm.store, lambda: farm.objects, bundled=None)}
    farm.wait_for_batch(batch.id)
    farm.wait_for_manifest(batch.id)
    ended = check_farm(farm.config, farm.store, farm.objects, is_final=True, is_deep=True, pause_s=0.5)

    assert alive.violations == ()
    assert (ended.violations, ended.num_jobs, ended.num_pictures) == ((), 24, 24)
    assert find_leftovers(farm.config, farm.store, farm.objects, older_than_s=0).is_empty
    for subject in ("Redis version", "Redis eviction", "clock", "object store", "models file", "model tiny", "keeper"):
        assert doctored[subject].grade == "ok", doctored[subject]
