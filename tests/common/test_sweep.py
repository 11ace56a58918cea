"""The sweep: what lost tries left goes, what a record names or a running try may still name stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sigmafarm_common.job import Job, RenderRequest
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.states import JobState
from sigmafarm_common.sweep import sweep_batch


def job(row: int, state: JobState, fence: int, image_key: str = "") -> Job:
    said = {"id": f"b1-{row}", "batch_id": "b1", "owner": "ann", "model": "m", "priority": 0, "step": 0}
    counted = {"num_steps": 8, "attempts": 0, "losses": 0, "request": RenderRequest(prompt="a barn")}
    return Job.model_validate({**said, **counted, "row": row, "state": state, "fence": fence, "image_key": image_key})


class JobsOnly:
    """As much of a store as the sweep reads."""

    def __init__(self, *jobs: Job):
        self._jobs = jobs

    def jobs(self, batch_id: str, *, state: None, after_row: int, limit: int) -> list[Job]:
        return [j for j in self._jobs if j.row > after_row][:limit]


class CountingFolder(FolderStore):
    """A folder that counts its listings."""

    num_listings = 0

    def list(self, prefix: str = ""):
        self.num_listings += 1
        return super().list(prefix)


def put(objects: FolderStore, *keys: str) -> None:
    for key in keys:
        objects.put(key, b"picture", "image/png")


def swept(objects: FolderStore, *jobs: Job) -> list[str]:
    store: Any = JobsOnly(*jobs)
    return sweep_batch(store, objects, "b1")


def test_picture_of_a_lost_try_is_removed_and_the_recorded_one_stays(tmp_path: Path):
    objects = CountingFolder(tmp_path)
    put(objects, "b1/000003-f1.png", "b1/000003-f2.png", "b1/manifest.jsonl")

    removed = swept(objects, job(3, JobState.SUCCEEDED, 2, "b1/000003-f2.png"))

    assert removed == ["b1/000003-f1.png"]
    assert {o.key for o in objects.list("b1/")} == {"b1/000003-f2.png", "b1/manifest.jsonl"}


def test_failed_and_cancelled_jobs_keep_no_picture(tmp_path: Path):
    objects = CountingFolder(tmp_path)
    put(objects, "b1/000000-f1.png", "b1/000001-f3.webp")

    removed = swept(objects, job(0, JobState.CANCELLED, 1), job(1, JobState.FAILED, 3))

    assert sorted(removed) == ["b1/000000-f1.png", "b1/000001-f3.webp"]


def test_try_that_a_record_read_earlier_does_not_know_is_left_alone(tmp_path: Path):
    objects = CountingFolder(tmp_path)
    put(objects, "b1/000000-f4.png", "b1/000001-f2.png", "b1/000002-fx.png")

    removed = swept(objects, job(0, JobState.FAILED, 3), job(1, JobState.RUNNING, 2), job(2, JobState.CANCELLED, 1))

    assert removed == []


def test_batch_without_mishaps_costs_no_listing(tmp_path: Path):
    objects = CountingFolder(tmp_path)

    swept(objects, job(0, JobState.SUCCEEDED, 1, "b1/000000-f1.png"), job(1, JobState.CANCELLED, 0))

    assert objects.num_listings == 0
