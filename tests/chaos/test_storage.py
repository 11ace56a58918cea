"""Rows 16, 21 and 25 of the fault table: storage that fails, bad input, storage that refuses for long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from sigmafarm_common.check import Rule, check_farm
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import ChaosFarm
from tests.chaos.conftest import MakeFarm
from tests.chaos.s3_faults import FaultyS3, StorageFault
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.farm_harness import until
from tests.limits import LIMIT_S

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
    if fault not in (StorageFault.SLOW, StorageFault.NO_ETAG):  # those last longer than boto's own tries
        until(lambda: "waiting for a service" in farm.logs(), "a worker waits with its picture")
    s3.fault = None

    farm.end_and_check(batch_id)
    jobs = farm.jobs(batch_id)
    assert {j.fence for j in jobs} == {1}
    keys = {o.key for o in farm.objects.list(f"{batch_id}/")}
    assert keys == {j.image_key for j in jobs} | {f"{batch_id}/manifest.jsonl"}


class Refusal:
    """Storage that takes nothing, until it is mended."""

    def __init__(self, name: str, s3: FaultyS3, farm: ChaosFarm):
        self.name, self._s3, self._farm = name, s3, farm

    def begin(self) -> str:
        """Begin, and return what must be said of it."""
        if self.name == "no bucket":
            self._client().delete_bucket(Bucket=BUCKET)
            return "does not exist"
        if self.name == "no folder":
            self._place().rename(self._place().with_name("elsewhere"))
            self._place().write_text("a file stands here")
            return "check SIGMAFARM_OBJECTS_URL"
        self._s3.fault = StorageFault.REFUSE if self.name == "key" else StorageFault.ERROR
        return "ExpiredToken" if self.name == "key" else "InternalError"

    def mend(self) -> None:
        self._s3.fault = None
        if self.name == "no bucket":
            self._client().create_bucket(Bucket=BUCKET)
        if self.name == "no folder":
            self._place().unlink()
            self._place().with_name("elsewhere").rename(self._place())

    def _client(self) -> Any:
        return boto3.client("s3", endpoint_url=f"http://{self._s3.upstream}", region_name="us-east-1")

    def _place(self) -> Path:
        return self._farm.folder / "objects"


REFUSALS = ["key", "no bucket", "error for long", "no folder"]


def refused_farm(make_farm: MakeFarm, s3: FaultyS3, name: str) -> tuple[ChaosFarm, Refusal, WorkerInfo]:
    """Return a farm of one worker whose storage can be made to refuse, and the worker."""
    place = {} if name == "no folder" else {"objects_url": f"s3://{BUCKET}/farm", "s3_endpoint_url": s3.url}
    farm = make_farm(**place)
    (worker,) = farm.start_workers(1)
    return farm, Refusal(name, s3, farm), worker


def failing(farm: ChaosFarm) -> str:
    return " ".join(w.failing for w in farm.workers())


def num_claimed(farm: ChaosFarm) -> int:
    return farm.store.totals().get("claimed", 0)


@pytest.mark.parametrize("name", REFUSALS)
def test_25_storage_that_refuses_for_long_stops_claims_and_keeps_every_picture_until_it_takes_them(
    make_farm: MakeFarm, s3: FaultyS3, name: str
) -> None:
    """Guards the outlet. Without it the worker hands back what was refused, and draws it again for ever."""
    farm, refusal, worker = refused_farm(make_farm, s3, name)
    room = (farm.config.max_images or 0) + farm.config.lookahead
    said = refusal.begin()

    batch_id = farm.submit(3 * room)
    until(lambda: said in failing(farm), f"the worker says that {said}")
    until(lambda: farm.states(batch_id).get(JobState.RUNNING), "pictures are kept")
    first = num_claimed(farm)
    held = next(j for j in farm.jobs(batch_id) if j.state is JobState.RUNNING)
    num_renewals = len(seen_times(farm, 12))  # three leases
    farm.store.cancel_job(held.id)
    until(
        lambda: held.id not in farm.store.held_jobs(worker.id) and in_hands(farm) < first, "the cancelled one is let go"
    )

    assert num_renewals == 12
    assert first <= room
    assert num_claimed(farm) == first, "jobs were claimed while no picture could be stored"
    assert farm.store.totals().get("lost", 0) == 0, "leases were renewed"
    assert (JobState.SUCCEEDED not in farm.states(batch_id), farm.store.job(held.id).fence) == (True, 1)

    refusal.mend()
    farm.end_and_check(batch_id, all_succeed=False)
    jobs = [j for j in farm.jobs(batch_id) if j.id != held.id]
    assert {j.state for j in jobs} == {JobState.SUCCEEDED}
    assert {(j.fence, j.attempts, j.losses) for j in jobs} == {(1, 0, 0)}, "a picture was drawn twice"
    assert [(w.pid, w.failing) for w in farm.workers()] == [(worker.pid, "")]


def seen_times(farm: ChaosFarm, num: int) -> set[int]:
    """Wait until the worker has renewed so often, and return when it did."""
    seen: set[int] = set()
    until(lambda: seen.update(w.seen_ms for w in farm.workers()) or len(seen) >= num, f"{num} renewals")
    return seen


def in_hands(farm: ChaosFarm) -> int:
    return sum(w.num_jobs for w in farm.workers())


@pytest.mark.parametrize("name", ["key", "no folder"])
def test_25_worker_that_ends_while_storage_refuses_hands_its_pictures_back_and_their_history_says_why(
    make_farm: MakeFarm, s3: FaultyS3, name: str
) -> None:
    """Guards the letting go of kept pictures. Without it the process is killed, and each of its jobs counts a death."""
    farm, refusal, _ = refused_farm(make_farm, s3, name)
    said = refusal.begin()
    batch_id = farm.submit(4)
    until(lambda: said in failing(farm), f"the worker says that {said}")
    held = [j.id for j in farm.jobs(batch_id) if j.state is JobState.RUNNING]

    farm.supervisors[0].terminate()
    farm.supervisors[0].wait()

    jobs = [farm.store.job(job_id) for job_id in held]
    assert jobs
    assert {(j.state, j.losses, j.attempts) for j in jobs} == {(JobState.QUEUED, 0, 0)}
    assert all(j.history[-1].outcome == "released" and said in j.history[-1].error for j in jobs), jobs[0].history
    refusal.mend()
    farm.start_worker()
    farm.end_and_check(batch_id)


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

    assert supervisor.wait(LIMIT_S) == 2
    assert "names no path" in supervisor.log.read_text()
