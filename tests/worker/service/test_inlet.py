"""What a worker is given to begin with: fetched, checked, fitted, kept; waited for while storage is away, and a verdict
about the job only where it is gone for good. The engine stands in: it notes what it was given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import redis
from PIL import Image

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.errors import StorageUnavailable
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.records import Job, Upload
from sigmafarm_common.states import JobState, Outcome
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.uploads.reading import as_eight_bits, stored_form
from sigmafarm_common.uploads.storing import link_picture, store_picture
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.service.desk import Desk
from sigmafarm_worker.service.outlet import Outlet, Undelivered
from sigmafarm_worker.service.picture_cache import PictureCache
from sigmafarm_worker.service.render import Renderer
from sigmafarm_worker.service.streak import Streak
from tests.common.store_contract import CONFIG, dispatch, request, submit


class NotingEngine:
    """Draws at once, and remembers what it was given."""

    last_beat_s, stats = 0.0, SimpleNamespace(step_s=0.0)

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def submit(self, request: Any, on_step: Any = None, **given: Any) -> Future[Rendered]:
        self.given.append(given)
        future: Future[Rendered] = Future()
        pixels = np.zeros((request.height, request.width, 3), np.uint8)
        future.set_result(Rendered(pixels, np.zeros((4, 8, 8), np.float32), request, 0.1))
        return future

    def drop(self, future: Future[Rendered], reason: str) -> None:
        raise AssertionError("a job that waits for its picture is not in the engine")


class Objects(FolderStore):
    """A folder whose reads are counted, and fail while there are errors."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.errors: list[Exception] = []
        self.num_gets = 0
        self.on_error: Callable[[], object] = lambda: None

    def get(self, key: str) -> bytes:
        self.num_gets += 1
        if self.errors:
            self.on_error()
            raise self.errors.pop()
        return super().get(key)


class HastyClock(SystemClock):
    """Nobody waits."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.is_set()


class Bench:
    def __init__(self, client: redis.Redis, folder: Path):
        self.store, self.objects, self.engine = RedisStore(CONFIG, client), Objects(folder), NotingEngine()
        clock = HastyClock()
        self.desk = Desk(self.engine, clock, stall_s=30)  # type: ignore[arg-type]
        self.changes: list[str] = []
        self.outlet = Outlet("w1", self.store, self.objects, clock, lambda: self.changes.append(self.outlet.reason))
        self.broken: list[str] = []
        streak = Streak(1, self.broken.append)
        self.renderer = Renderer("w1", self.store, self.objects, self.desk, clock, streak=streak, outlet=self.outlet)

    def upload(self, image: Image.Image) -> Upload:
        return store_picture(self.store, self.objects, "ann", stored_form(as_eight_bits(image))).upload

    def submit(self, num: int = 1, **said: object) -> list[str]:
        """Submit a batch of jobs of 64 x 64, and return those that are dispatched."""
        submit(self.store, requests=[request().model_copy(update=said)] * num)
        return dispatch(self.store, slots=num)

    def draw(self, job_id: str) -> Job:
        self.renderer.render(job_id)
        return self.store.job(job_id)


@pytest.fixture
def bench(redis_client: redis.Redis, tmp_path: Path) -> Bench:
    return Bench(redis_client, tmp_path)


def shade(width: int = 64, height: int = 64) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def test_engine_is_given_picture_and_mask_of_the_jobs_size(bench: Bench):
    picture, mask = bench.upload(shade()), bench.upload(Image.new("RGB", (128, 64), "white"))
    (job_id,) = bench.submit(init_image=picture.name, mask_image=mask.name)

    assert bench.draw(job_id).state is JobState.SUCCEEDED

    (given,) = bench.engine.given
    assert given["init_image"].dtype == given["mask_image"].dtype == np.uint8
    assert np.array_equal(given["init_image"], np.asarray(shade()))
    assert (given["mask_image"].shape, int(given["mask_image"].min())) == ((64, 64), 255)


def test_job_without_pictures_is_given_none(bench: Bench):
    (job_id,) = bench.submit()

    assert bench.draw(job_id).state is JobState.SUCCEEDED
    assert bench.engine.given == [{"init_image": None, "mask_image": None}]


def test_picture_of_a_job_is_drawn_from_where_it_lies(bench: Bench):
    first = bench.draw(bench.submit()[0])
    linked = link_picture(bench.store, bench.objects, "ann", first)

    (job_id,) = bench.submit(init_image=linked.name)

    assert bench.draw(job_id).state is JobState.SUCCEEDED
    assert bench.engine.given[1]["init_image"].shape == (64, 64, 3)


def test_jobs_with_one_picture_fetch_it_once(bench: Bench):
    jobs = bench.submit(5, init_image=bench.upload(shade()).name)

    assert {bench.draw(job_id).state for job_id in jobs} == {JobState.SUCCEEDED}

    assert bench.objects.num_gets == 1
    assert len({id(given["init_image"]) for given in bench.engine.given}) == 1


def test_storage_that_is_away_is_waited_for_and_no_verdict(bench: Bench):
    (job_id,) = bench.submit(init_image=bench.upload(shade()).name)
    bench.objects.errors = [StorageUnavailable("away")] * 5

    job = bench.draw(job_id)

    assert (job.state, job.attempts, job.history) == (JobState.SUCCEEDED, 0, ())
    assert bench.changes == ["pictures cannot be read: away", ""]


def test_job_that_is_dropped_while_its_picture_is_waited_for_never_reaches_the_engine(bench: Bench):
    (job_id,) = bench.submit(init_image=bench.upload(shade()).name)
    bench.objects.errors = [StorageUnavailable("away")] * 9
    bench.objects.on_error = lambda: [bench.desk.drop(tried, Outcome.RELEASED) for tried in bench.desk.tries()]

    job = bench.draw(job_id)

    assert (job.state, job.attempts, bench.engine.given) == (JobState.QUEUED, 0, [])
    assert "its picture could not be read: away" in job.history[0].error


def test_a_success_of_storing_does_not_open_what_is_closed_for_reading(bench: Bench):
    claims = [bench.store.claim(job_id, "w1") for job_id in bench.submit(2)]
    dropped, other = (bench.desk.hold(claim) for claim in claims if claim)

    def get() -> None:
        if bench.outlet.is_closed:
            bench.desk.drop(dropped.claim.tried, Outcome.RELEASED)
        raise StorageUnavailable("away")

    with pytest.raises(Undelivered):
        bench.outlet.fetch(dropped, get)
    bench.outlet.deliver(other, lambda: None)
    assert bench.outlet.reason == "pictures cannot be read: away"

    bench.outlet.run_once()
    assert not bench.outlet.is_closed


def remove_object(bench: Bench, upload: Upload) -> None:
    bench.objects.delete(upload.key)


def change_object(bench: Bench, upload: Upload) -> None:
    bench.objects.put(upload.key, stored_form(Image.new("RGB", (64, 64))).png, "image/png")


def remove_record(bench: Bench, upload: Upload) -> None:
    bench.store.redis.client.delete(f"sigmafarm:upload:{upload.sha256}:ann")


def spoil_key(bench: Bench, upload: Upload) -> None:
    bench.store.redis.client.hset(f"sigmafarm:upload:{upload.sha256}:ann", "key", "../../etc/hostname")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove_object, "is not in the object store any more (uploads/"),
        (change_object, "was changed where it is stored (uploads/"),
        (remove_record, "has no record any more"),
        (spoil_key, "is not in the object store any more (../../etc"),
    ],
)
def test_picture_that_is_gone_for_good_ends_its_job_and_is_no_fault_of_the_worker(
    bench: Bench, spoil: Callable[[Bench, Upload], None], words: str
):
    upload = bench.upload(shade())
    (job_id,) = bench.submit(init_image=upload.name)
    spoil(bench, upload)

    job = bench.draw(job_id)

    assert (job.state, job.error_code, bench.engine.given) == (JobState.FAILED, "picture_gone", [])
    assert words in job.error
    assert "upload it again, then retry the job" in job.error
    assert (bench.broken, bench.outlet.is_closed) == ([], False)
    if spoil is not spoil_key:
        bench.upload(shade())
        bench.store.retry_job(job_id)
        assert bench.draw(dispatch(bench.store)[0]).state is JobState.SUCCEEDED


def test_cache_lets_go_of_what_was_not_used_for_longest():
    cache, pixels = PictureCache(250), np.zeros((10, 10), np.uint8)
    keys = [(name, False, 10, 10) for name in "abc"]
    cache.put(keys[0], pixels)
    cache.put(keys[1], pixels)
    assert cache.get(keys[0]) is pixels

    cache.put(keys[2], pixels)
    cache.put(("large", False, 20, 20), np.zeros((20, 20), np.uint8))

    assert [cache.get(key) is not None for key in keys] == [True, False, True]
    assert cache.num_bytes == 200
