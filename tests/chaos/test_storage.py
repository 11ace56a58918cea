"""Rows 16 and 21 of the fault table: storage that fails, and bad input."""

from __future__ import annotations

import time
from collections.abc import Iterator

import boto3
import pytest

from sigmafarm_common.check import Rule, check_farm
from sigmafarm_common.states import JobState
from tests.chaos.conftest import MakeFarm
from tests.chaos.s3_faults import FaultyS3, StorageFault
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.farm_harness import until

BUCKET = "renders"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """A faulty front of a real S3 server with one bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with moto_server() as url:
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket=BUCKET)
        front = FaultyS3(url)
        yield front
        front.close()


@pytest.mark.parametrize("fault", list(StorageFault), ids=[f.name.lower() for f in StorageFault])
def test_16_storage_fault_is_waited_out_with_one_output_and_no_orphan(
    make_farm: MakeFarm, s3: FaultyS3, fault: StorageFault
) -> None:
    """Guards the patience of uploads and keys that end in the fence. Without the patience the job is handed back and
    drawn again: its fence is more than 1."""
    farm = make_farm(objects_url=f"s3://{BUCKET}/farm", s3_endpoint_url=s3.url)
    farm.start_workers(1)
    s3.fault = fault

    batch_id = farm.submit(6)
    while s3.num_faults < 6:
        time.sleep(0.05)
    if fault is not StorageFault.SLOW:  # those last longer than boto's own tries
        until(lambda: "waiting for a service" in farm.logs(), "a worker waits with its picture", limit_s=60)
    s3.fault = None

    farm.end_and_check(batch_id)
    jobs = farm.jobs(batch_id)
    assert {j.fence for j in jobs} == {1}
    keys = {o.key for o in farm.objects.list(f"{batch_id}/")}
    assert keys == {j.image_key for j in jobs} | {f"{batch_id}/manifest.jsonl"}


def test_21_corrupted_picture_is_named_by_the_checker(make_farm: MakeFarm) -> None:
    """Guards the SHA-256 of the record. Without comparing it nobody notices."""
    farm = make_farm()
    farm.start_workers(1)
    batch_id = farm.submit(2)
    farm.end_and_check(batch_id)
    job = farm.jobs(batch_id)[1]
    data = bytearray(farm.objects.get(job.image_key))
    data[len(data) // 2] ^= 1
    farm.objects.put(job.image_key, bytes(data), "image/png")

    report = check_farm(farm.config, farm.store, farm.objects, is_final=True, is_deep=True, pause_s=0.1)

    assert [(v.rule, job.image_key in v.message or job.id in v.message) for v in report.violations] == [
        (Rule.PICTURE_SHA256, True)
    ]


def test_21_job_that_cannot_be_drawn_fails_and_its_worker_lives(make_farm: MakeFarm) -> None:
    """Guards the per-job guard and the table of errors. Without the guard the thread ends and the job stays running."""
    farm = make_farm()
    (worker,) = farm.start_workers(1)

    batch_id = farm.submit(["memory", "broken", "fine", "memory too", "fine too"])

    farm.end_and_check(batch_id, all_succeed=False)
    found = [(j.state, j.error_code, j.attempts) for j in farm.jobs(batch_id)]
    succeeded, memory = (JobState.SUCCEEDED, "", 0), (JobState.FAILED, "out_of_device_memory", 3)
    assert found == [memory, (JobState.FAILED, "render_failed", 1), succeeded, memory, succeeded]
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]


def test_21_models_file_that_names_nothing_ends_the_worker_with_a_sentence(make_farm: MakeFarm) -> None:
    """Guards the exit code 2 of what no restart mends. Without it the supervisor starts the worker again for ever.
    (Model folders that miss a file: tests/e2e/test_render.py, with the real loader.)"""
    farm = make_farm()
    (farm.folder / "models.toml").write_text("[models.sim]\n")

    supervisor = farm.start_worker()

    assert supervisor.wait(60) == 2
    assert "names no path" in supervisor.log.read_text()
