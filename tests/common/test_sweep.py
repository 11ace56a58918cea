"""The sweep: what lost tries left goes, what a record names or a try that is not over may still name stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.records import Job
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.sweep import had_mishaps, sweep_batch

B = "0123456789abcde"


def job(row: int, state: JobState, fence: int, image_key: str = "") -> Job:
    said = {"id": f"{B}-{row:06d}", "batch_id": B, "owner": "ann", "model": "m", "priority": 0, "step": 0}
    counted = {"num_steps": 8, "attempts": 0, "losses": 0, "request": RenderRequest(prompt="a barn")}
    return Job.model_validate({**said, **counted, "row": row, "state": state, "fence": fence, "image_key": image_key})


class JobsOnly:
    """As much of a store as the sweep reads; something may happen before its first read."""

    def __init__(self, *jobs: Job):
        self._jobs = jobs

    def batch(self, batch_id: str) -> None:
        assert batch_id == B

    def jobs(self, batch_id: str, *, state: None, after_row: int, limit: int) -> list[Job]:
        return [j for j in self._jobs if j.row > after_row][:limit]


def put(objects: FolderStore, *keys: str) -> None:
    for key in keys:
        objects.put(key, b"picture", "image/png")


def swept(objects: FolderStore, *jobs: Job) -> list[str]:
    store: Any = JobsOnly(*jobs)
    return sweep_batch(store, objects, B)


def test_picture_of_a_lost_try_is_removed_and_the_recorded_one_stays(tmp_path: Path):
    objects = FolderStore(tmp_path)
    put(objects, f"{B}/000003-f1.png", f"{B}/000003-f2.png", f"{B}/manifest.jsonl")

    removed = swept(objects, job(3, JobState.SUCCEEDED, 2, f"{B}/000003-f2.png"))

    assert removed == [f"{B}/000003-f1.png"]
    assert {o.key for o in objects.list(f"{B}/")} == {f"{B}/000003-f2.png", f"{B}/manifest.jsonl"}


def test_failed_and_cancelled_jobs_keep_no_picture(tmp_path: Path):
    objects = FolderStore(tmp_path)
    put(objects, f"{B}/000000-f1.png", f"{B}/000001-f3.webp")

    removed = swept(objects, job(0, JobState.CANCELLED, 1), job(1, JobState.FAILED, 3))

    assert sorted(removed) == [f"{B}/000000-f1.png", f"{B}/000001-f3.webp"]


def test_picture_of_a_try_that_is_not_over_is_left_alone(tmp_path: Path):
    objects = FolderStore(tmp_path)
    put(objects, f"{B}/000000-f2-0a.png", f"{B}/000001-f1-0a.png", f"{B}/000002-fx.png", f"{B}/notes.txt")

    assert swept(objects, job(0, JobState.RUNNING, 2), job(1, JobState.QUEUED, 1), job(2, JobState.CANCELLED, 1)) == []


@pytest.mark.parametrize("left", ["000000-f1-0000000a.png", "000000-f7-0000000a.png", "000000-f1.webp"])
def test_picture_of_a_try_that_the_records_forgot_is_removed(tmp_path: Path, left: str):
    """Records that went back in time: the same number under another token, or a number that they never gave."""
    objects, kept = FolderStore(tmp_path), f"{B}/000000-f1-0000000b.png"
    put(objects, f"{B}/{left}", kept)

    assert swept(objects, job(0, JobState.SUCCEEDED, 1, kept)) == [f"{B}/{left}"]
    assert [o.key for o in objects.list()] == [kept]


def test_try_that_begins_while_the_sweep_reads_keeps_its_picture(tmp_path: Path):
    """The objects are listed before the jobs are read, so that what comes later is not even seen."""
    objects, late = FolderStore(tmp_path), f"{B}/000000-f2-0b.png"

    class Retried(JobsOnly):
        def batch(self, batch_id: str) -> None:
            put(objects, late)

    store: Any = Retried(job(0, JobState.FAILED, 1))
    assert sweep_batch(store, objects, B) == []
    assert [o.key for o in objects.list()] == [late]


@pytest.mark.parametrize(
    ("jobs", "answer"),
    [
        ([job(0, JobState.SUCCEEDED, 1, "x"), job(1, JobState.CANCELLED, 0)], False),
        ([job(0, JobState.SUCCEEDED, 2, "x")], True),
        ([job(0, JobState.CANCELLED, 1)], True),
    ],
)
def test_batch_had_mishaps_if_a_try_did_not_end_in_its_picture(jobs: list[Job], answer: bool):
    store: Any = JobsOnly(*jobs)

    assert had_mishaps(store, B) is answer
