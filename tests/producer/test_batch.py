"""A batch in the hand: counts, waiting, steering and downloading."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import redis

from sigmafarm import Counts, Farm, JobState, NotFound, StorageUnavailable, StoreUnavailable
from sigmafarm.pausing import PATIENCE_S
from sigmafarm.waiting import wait_for_batch
from sigmafarm_common.records import Batch
from sigmafarm_common.store.protocol import Store
from tests.farm_hand import FarmHand, jobs_in
from tests.limits import until


class WorkingClock:
    """A clock whose waits let the hand work, and whose time stands still otherwise."""

    def __init__(self, hand: FarmHand | None = None):
        self.hand, self.now_s, self.num_waits = hand, 0.0, 0

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.now_s += timeout_s
        self.num_waits += 1
        if self.hand:
            self.hand.work()
        return False


def test_wait_ends_when_the_last_job_does(farm: Farm):
    clock = WorkingClock(FarmHand(farm, slots=2))
    batch = Farm(farm.config, clock=clock).submit(["a"] * 20 + ["fail"])

    counts = batch.wait(progress=True)

    assert (counts.succeeded, counts.failed, counts.is_done) == (20, 1, True)
    assert clock.num_waits >= 3


def test_wait_ends_when_its_time_is_over(farm: Farm, hand: FarmHand):
    batch = Farm(farm.config, clock=WorkingClock()).submit("a")

    counts = batch.wait(timeout_s=3)

    assert (counts.is_done, counts.queued) == (False, 1)


class FlakyStore:
    """Away for a number of looks."""

    def __init__(self, num_away: int):
        self.num_away = num_away

    def batch(self, batch_id: str) -> Batch:
        self.num_away -= 1
        if self.num_away >= 0:
            raise StoreUnavailable("away")
        counts = Counts(succeeded=1)
        return Batch(id=batch_id, name="", owner="o", priority=0, is_paused=False, counts=counts, created_ms=1)


def wait_on(store: object) -> Counts:
    flaky: Store = store  # pyright: ignore[reportAssignmentType]
    return wait_for_batch(flaky, "b", WorkingClock())


def test_wait_outlasts_a_short_absence_of_the_farm():
    assert wait_on(FlakyStore(10)).succeeded == 1


def test_wait_gives_up_on_a_farm_that_stays_away():
    with pytest.raises(StoreUnavailable):
        wait_on(FlakyStore(int(PATIENCE_S) + 5))


def test_a_batch_can_be_paused_resumed_moved_and_cancelled(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"] * 3)

    assert batch.pause().is_paused
    assert hand.work() == 0
    assert not batch.resume().is_paused
    assert batch.set_priority(7).priority == 7
    assert batch.cancel() == 3
    assert batch.counts == Counts(cancelled=3)


def test_failed_jobs_can_be_retried(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a", "fail"])
    hand.work_all()

    assert batch.retry() == 1
    assert batch.counts == Counts(queued=1, succeeded=1)


def test_batches_jobs_workers_models_and_queues_can_be_asked_for(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a", "b"])
    job = next(batch.jobs())

    assert farm.job(job.id) == job
    assert [b.id for b in farm.batches()] == [batch.id]
    assert [w.id for w in farm.workers()] == ["hand"]
    assert [m.name for m in farm.models()] == ["tiny"]
    assert farm.queues()[0].waiting == {0: 2}
    assert repr(farm.batch(batch.id)) == f"FarmBatch({batch.id!r})"


def test_what_does_not_exist_is_not_found(farm: Farm):
    with pytest.raises(NotFound):
        farm.batch("nothing")
    with pytest.raises(NotFound):
        farm.job("nothing")


def test_download_gives_files_by_row_and_a_manifest(farm: Farm, hand: FarmHand, tmp_path: Path):
    batch = farm.submit(["a", "fail", "c"])
    hand.work_all()

    done = batch.download(tmp_path / "out")

    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000000.png", "000002.png", "manifest.jsonl"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [(line["row"], line["key"], line["state"]) for line in lines] == [
        (0, "000000.png", "succeeded"),
        (1, "", "failed"),
        (2, "000002.png", "succeeded"),
    ]
    assert lines[1]["error"] == "no luck"
    assert (done.num_fetched, done.num_present, done.num_without) == (2, 0, 1)


def test_a_second_download_fetches_only_what_is_missing_or_damaged(farm: Farm, hand: FarmHand, tmp_path: Path):
    batch = farm.submit(["a", "b", "c"])
    hand.work_all()
    batch.download(tmp_path)
    (tmp_path / "000000.png").unlink()
    (tmp_path / "000001.png").write_bytes(b"half a pict")

    done = batch.download(tmp_path)

    assert (done.num_fetched, done.num_present) == (2, 1)


def test_a_damaged_picture_is_told_after_the_others_are_fetched(farm: Farm, hand: FarmHand, tmp_path: Path):
    batch = farm.submit(["a", "b", "c"])
    hand.work_all()
    jobs = jobs_in(farm, batch.id, JobState.SUCCEEDED)
    farm.objects.put(jobs[0].image_key, b"rubbish", "image/png")
    farm.objects.delete(jobs[1].image_key)

    with pytest.raises(StorageUnavailable) as caught:
        batch.download(tmp_path / "out")

    assert "2 pictures could not be fetched: row 0: " in str(caught.value)
    assert "is damaged, its SHA-256 is not the recorded" in str(caught.value)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000002.png", "manifest.jsonl"]


def test_many_pictures_come_in_order_whatever_the_threads_do(farm: Farm, hand: FarmHand, tmp_path: Path):
    batch = farm.submit(["a"] * 150)
    hand.work_all()
    rows: list[int] = []

    batch.download(tmp_path, on_job=lambda job: rows.append(job.row))

    assert rows == list(range(150))
    assert len(list(tmp_path.glob("*.png"))) == 150


def test_a_folder_that_cannot_be_made_is_named(farm: Farm, hand: FarmHand, tmp_path: Path):
    batch = farm.submit("a")
    hand.work_all()
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageUnavailable, match=r"cannot be made: .*; name another"):
        batch.download(tmp_path / "file" / "out")


def test_a_closed_farm_holds_no_connection(farm: Farm, redis_client: redis.Redis):
    def connections() -> set[str]:
        return {each["id"] for each in redis_client.client_list()}

    closed = Farm(farm.config)
    held = str(closed.store.client.client_id())  # pyright: ignore[reportAttributeAccessIssue]
    assert held in connections()

    closed.close()

    until(lambda: held not in connections(), "the server to see it closed")
