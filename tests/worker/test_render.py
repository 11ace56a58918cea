"""What becomes of a job in a worker, with a real engine, the store's twin in memory and a folder of objects."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.errors import AccessDenied, StorageUnavailable, StoreUnavailable, UnsafeServer
from sigmafarm_common.job import RenderRequest
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.states import JobState
from sigmafarm_common.store.memory_store import MemoryStore
from sigmafarm_common.store.protocol import Fence, Output
from sigmafarm_worker.desk import Desk
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.images import read_parameters
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.render import Renderer
from sigmafarm_worker.renewer import Renewer
from sigmafarm_worker.streak import Streak
from sigmafarm_worker.wishes import Wishes
from tests.common.store_contract import CONFIG, FakeMs, dispatch, submit, worker


class ImpatientClock(SystemClock):
    """Real time in which nobody waits."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.is_set()


class Objects(FolderStore):
    """A folder whose next puts can be made to fail, or to be preceded by something."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.errors: list[Exception] = []
        self.before_put: Callable[[], object] = lambda: None

    def put(self, key: str, data: bytes | BinaryIO, content_type: str) -> None:
        self.before_put()
        if self.errors:
            raise self.errors.pop()
        super().put(key, data, content_type)


class Store(MemoryStore):
    """The twin whose next finishes can be made to fail after they were carried out: the reply is lost."""

    errors: list[Exception]

    def finish(self, job_id: str, fence: Fence, output: Output) -> bool:
        answer = super().finish(job_id, fence, output)
        if self.errors:
            raise self.errors.pop()
        return answer


class Bench:
    """A renderer with everything around it."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.clock_ms = FakeMs()
        self.store = Store(CONFIG, now_ms=self.clock_ms)
        self.store.errors = []
        self.objects = Objects(folder)
        self.engine = engine
        self.desk = Desk(engine, ImpatientClock(), stall_s=30)
        self.broken: list[str] = []
        streak = Streak(3, self.broken.append)
        self.renderer = Renderer("w1", self.store, self.objects, self.desk, ImpatientClock(), streak)

    def submit(self, *requests: RenderRequest) -> list[str]:
        """Submit and dispatch requests, and return the job ids."""
        submit(self.store, requests=requests)
        return dispatch(self.store, slots=len(requests))

    def keys(self) -> list[str]:
        return [o.key for o in self.objects.list()]


@pytest.fixture(scope="module")
def model_m(checkpoint: Path) -> Model:
    return load_model(ModelSpec(name="m", path=str(checkpoint)))


@pytest.fixture
def bench(model_m: Model, tmp_path: Path) -> Iterator[Bench]:
    engine = Engine(model_m, max_images=4)
    engine.start()
    yield Bench(engine, tmp_path)
    engine.stop()


def draw_in_thread(bench: Bench, job_id: str) -> threading.Thread:
    """Let a job be drawn, and return when its first step is done."""
    thread = threading.Thread(target=bench.renderer.render, args=[job_id])
    thread.start()
    while not any(b.step for b in bench.desk.beats()):
        pass
    return thread


def picture(name: str = "x", **settings: Any) -> RenderRequest:
    fields = {"num_inference_steps": 2, "height": 64, "width": 64, "seed": 1, "model": "m", **settings}
    return RenderRequest(prompt=name, **fields).resolved()


def test_job_ends_as_a_picture_under_a_key_that_ends_in_the_fence(bench: Bench) -> None:
    (job_id,) = bench.submit(picture("a cat"))

    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert bench.keys() == [job.image_key]
    assert re.fullmatch(rf"{job.batch_id}/000000-f1-[0-9a-f]{{8}}\.png", job.image_key)
    assert "a cat" in read_parameters(bench.objects.get(job.image_key)).parameters
    assert bench.desk.num_jobs == 0
    assert bench.desk.num_done == 1


def test_duplicate_and_forged_calls_are_dropped(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())
    bench.renderer.render(job_id)

    for message in (job_id, "forged", "0" * 15 + "-000000", ""):
        bench.renderer.render(message)

    assert bench.store.job(job_id).fence == 1


def test_refused_finish_removes_its_own_object(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())

    def lose_the_lease() -> None:
        bench.clock_ms.advance(CONFIG.lease_s + 1)
        bench.store.take_back()

    bench.objects.before_put = lose_the_lease

    bench.renderer.render(job_id)

    assert bench.store.job(job_id).state is JobState.QUEUED
    assert bench.keys() == []


def test_upload_is_tried_until_the_storage_is_back(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())
    bench.objects.errors = [StorageUnavailable("away"), StorageUnavailable("away")]

    bench.renderer.render(job_id)

    assert bench.store.job(job_id).state is JobState.SUCCEEDED


def test_finish_whose_reply_was_lost_is_said_again_and_counts_once(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())
    bench.store.errors = [StoreUnavailable("away")]

    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert bench.keys() == [job.image_key]
    assert bench.store.batch(job.batch_id).counts.succeeded == 1


@pytest.mark.parametrize("error", [RuntimeError("a word of a server to come"), KeyError("state"), OSError("odd")])
def test_what_nobody_foresaw_in_a_delivery_is_waited_out(bench: Bench, error: Exception) -> None:
    jobs = bench.submit(picture(), picture())
    bench.store.errors = [error]
    bench.renderer.render(jobs[0])
    bench.objects.errors = [error]
    bench.renderer.render(jobs[1])

    assert [(bench.store.job(j).state, bench.store.job(j).attempts) for j in jobs] == [(JobState.SUCCEEDED, 0)] * 2


def test_no_error_of_a_delivery_is_a_verdict_about_the_job(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())
    bench.objects.errors = [UnsafeServer("no waiting mends that")]

    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert (job.state, job.attempts, job.history[0].outcome) == (JobState.QUEUED, 0, "released")


def test_a_picture_that_cannot_be_encoded_is_the_job_s_own_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job_id,) = bench.submit(picture())
    monkeypatch.setattr("sigmafarm_worker.render.encode", lambda *_: 1 / 0)

    bench.renderer.render(job_id)

    assert (bench.store.job(job_id).state, bench.keys()) == (JobState.FAILED, [])


def test_job_goes_back_when_the_bucket_refuses_our_credentials(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())
    bench.objects.errors = [AccessDenied("no")]

    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert (job.state, job.history[0].outcome) == (JobState.QUEUED, "released")


def test_job_for_a_model_that_the_worker_has_not_fails_with_the_name(bench: Bench) -> None:
    (job_id,) = bench.submit(picture(model="m"))
    bench.engine.models = {}

    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "unknown_model")


@pytest.mark.parametrize(
    ("steer", "state"),
    [("cancel_batch", JobState.CANCELLED), ("pause_batch", JobState.QUEUED)],
)
def test_dropped_job_leaves_nothing_behind(bench: Bench, steer: str, state: JobState) -> None:
    (job_id,) = bench.submit(picture(num_inference_steps=1000))
    thread = draw_in_thread(bench, job_id)
    getattr(bench.store, steer)(job_id.split("-")[0])

    Renewer(bench.store, bench.desk, worker, lease_s=10, clock=SystemClock()).run_once()
    thread.join(30)

    assert bench.store.job(job_id).state is state
    assert bench.keys() == []
    assert bench.desk.num_jobs == 0


@pytest.mark.parametrize("steer", ["job", "batch", "lost lease"])
def test_job_that_comes_back_while_its_older_try_is_drawn_is_drawn_once_more_and_no_more(
    bench: Bench, steer: str
) -> None:
    """The claim of the newer try ends the older one at once, without a renewal; neither takes the other away."""
    (job_id,) = bench.submit(picture(num_inference_steps=300))
    older = draw_in_thread(bench, job_id)
    first = bench.desk.tries()
    if steer == "job":
        bench.store.cancel_job(job_id)
        bench.store.retry_job(job_id)
    elif steer == "batch":
        bench.store.cancel_batch(job_id.split("-")[0])
        bench.store.retry_batch(job_id.split("-")[0], states=[JobState.CANCELLED])
    else:
        bench.clock_ms.advance(CONFIG.lease_s + 1)
        bench.store.take_back()
    dispatch(bench.store, slots=2)

    newer = threading.Thread(target=bench.renderer.render, args=[job_id])
    newer.start()
    older.join(60)

    assert not older.is_alive(), "the older try is still drawn"
    assert len(bench.desk.tries()) == 1, "the newer try is held, and it alone"
    assert bench.desk.tries() != first
    renewer = Renewer(bench.store, bench.desk, worker, lease_s=10, clock=SystemClock())
    renewer.run_once()
    newer.join(60)
    job = bench.store.job(job_id)
    assert (job.state, job.fence, job.attempts) == (JobState.SUCCEEDED, 2, 0)
    assert bench.keys() == [job.image_key]


@pytest.mark.parametrize(("steer", "state"), [("cancel_batch", JobState.CANCELLED), ("pause_batch", JobState.QUEUED)])
def test_cancel_and_pause_reach_the_engine_between_two_renewals(bench: Bench, steer: str, state: JobState) -> None:
    (job_id,) = bench.submit(picture(num_inference_steps=1000))
    thread = draw_in_thread(bench, job_id)
    getattr(bench.store, steer)(job_id.split("-")[0])

    Wishes("w1", bench.store, bench.desk, lambda _: None, SystemClock()).run_once()
    thread.join(60)

    assert bench.store.job(job_id).state is state
    assert bench.desk.tries() == []


def test_hand_back_releases_what_is_drawn_and_what_comes_later(bench: Bench) -> None:
    first, second = bench.submit(picture(num_inference_steps=1000), picture())
    thread = draw_in_thread(bench, first)

    bench.desk.hand_back()
    bench.renderer.render(second)
    thread.join(30)

    for job_id in (first, second):
        job = bench.store.job(job_id)
        assert (job.state, job.attempts, job.losses) == (JobState.QUEUED, 0, 0)


def test_worker_whose_jobs_fail_one_after_the_other_says_so_once(bench: Bench) -> None:
    jobs = bench.submit(*[picture() for _ in range(5)])
    bench.renderer.render(jobs[0])
    bench.engine.stop()

    for job_id in jobs[1:3]:
        bench.renderer.render(job_id)
    assert bench.broken == []
    for job_id in jobs[3:]:
        bench.renderer.render(job_id)

    assert bench.broken == [
        "3 jobs in a row failed here; last: the engine has stopped: submit the job again",
    ]
    assert [bench.store.job(j).attempts for j in jobs] == [0, 1, 1, 1, 1]


def test_job_that_stands_still_no_longer_counts_as_moving(bench: Bench) -> None:
    class StandingClock(SystemClock):
        now_s = 1000.0

        def monotonic_s(self) -> float:
            return self.now_s

    clock = StandingClock()
    desk = Desk(bench.engine, clock, stall_s=5)
    (job_id,) = bench.submit(picture())
    claim = bench.store.claim(job_id, "w1")
    assert claim is not None
    held = desk.hold(claim)
    desk._note_step(held, 1)
    assert [b.has_moved for b in desk.beats()] == [True]

    clock.now_s += 1000

    assert [b.has_moved for b in desk.beats()] == [False]
