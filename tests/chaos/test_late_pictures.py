"""Rows 24 and 28 of the fault table: a picture whose upload hangs, and what became of its job meanwhile.

The upload was sent whole and the front of the storage holds it; the worker that sent it is frozen or dead. So the test
says when the object lands.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from sigmafarm_common.job import Job
from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import ChaosFarm, is_alive, kill, until
from tests.chaos.conftest import MakeFarm
from tests.chaos.rollback import put_back, take_copy
from tests.chaos.s3_faults import FaultyS3, StorageFault
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.redis_server import RedisServer

BUCKET = "renders"


class HoldingS3(FaultyS3):
    """Holds the first PUT that comes once it is armed, until it is let go."""

    def __init__(self, upstream_url: str):
        super().__init__(upstream_url)
        self._armed, self._let_go = threading.Event(), threading.Event()
        self.holds = threading.Event()

    def arm(self) -> None:
        self._armed.set()

    def let_go(self) -> None:
        self._let_go.set()

    def draw(self, method: str) -> StorageFault | None:
        if method == "PUT" and self._armed.is_set():
            self._armed.clear()
            self.holds.set()
            self._let_go.wait(300)
        return None

    def close(self) -> None:
        self.let_go()
        super().close()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[HoldingS3]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with moto_server() as url:
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket=BUCKET)
        front = HoldingS3(url)
        yield front
        front.close()


def make_farm_on(s3: HoldingS3, make_farm: MakeFarm) -> ChaosFarm:
    # Nobody ends the frozen worker: the test does.
    return make_farm(objects_url=f"s3://{BUCKET}/farm", s3_endpoint_url=s3.url, stall_s=300.0)


def freeze_in_its_upload(farm: ChaosFarm, s3: HoldingS3) -> int:
    """Start a worker, freeze it once its upload hangs, and return its process id."""
    (worker,) = farm.start_workers(1)
    s3.arm()
    until(s3.holds.is_set, "the upload hangs")
    kill(worker.pid, signal.SIGSTOP)
    return worker.pid


def pictures(farm: ChaosFarm, job: Job) -> list[str]:
    return [o.key for o in farm.objects.list(f"{job.batch_id}/{job.row:06d}-f")]


@pytest.mark.parametrize("lands", ["after the other's finish", "while the other draws"])
def test_24_fence_that_a_rollback_gives_twice_costs_a_drawing_and_no_picture(
    make_farm: MakeFarm, server: RedisServer, s3: HoldingS3, tmp_path: Path, lands: str
) -> None:
    """Guards the token in the fence and in the key. Without it the first worker's upload overwrites the picture that
    was accepted, or its finish is taken for the other's: recorded and stored SHA-256 differ."""
    farm = make_farm_on(s3, make_farm)
    batch_id = farm.submit(1, num_inference_steps=600)
    copy = take_copy(server, tmp_path / "copy")
    first_pid = freeze_in_its_upload(farm, s3)
    number = farm.jobs(batch_id)[0].fence

    put_back(server, copy)
    assert farm.jobs(batch_id)[0].state is JobState.QUEUED
    with farm.crawling():
        farm.start_worker()
        farm.wait_until_drawn(batch_id)
    assert farm.jobs(batch_id)[0].fence == number, "the number is given a second time"
    if lands == "after the other's finish":
        farm.wait_for_batch(batch_id)
    s3.let_go()
    until(lambda: pictures(farm, farm.jobs(batch_id)[0]), "the held upload has landed")
    kill(first_pid, signal.SIGCONT)

    # The records went back to before the first worker: it is in them again once it renews.
    until(lambda: [w.num_jobs for w in farm.workers() if w.pid == first_pid] == [0], "the first worker is through")
    farm.end_and_check(batch_id)
    assert len(pictures(farm, farm.jobs(batch_id)[0])) == 1
    assert "finish refused" in farm.logs()
    assert is_alive(first_pid)


def test_28_picture_that_lands_when_its_worker_and_the_leader_are_dead_is_swept(
    make_farm: MakeFarm, s3: HoldingS3
) -> None:
    """Guards the sweep that is planned in the store. Remembered in the leader's memory it dies with it, and the picture
    of the cancelled job lies in the bucket for ever."""
    farm = make_farm_on(s3, make_farm)
    batch_id = farm.submit(1)
    pid = freeze_in_its_upload(farm, s3)
    (job,) = farm.jobs(batch_id)

    farm.store.cancel_job(job.id)
    farm.wait_for_manifest(batch_id)
    farm.supervisors[0].kill()
    kill(pid)
    s3.let_go()
    until(lambda: pictures(farm, job), "the held upload has landed")
    farm.start_worker()

    until(lambda: not pictures(farm, job), "the late picture is swept", 60)
    farm.end_and_check(batch_id, all_succeed=False)
