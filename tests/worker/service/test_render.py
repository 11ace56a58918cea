"""What becomes of a job in a worker, with a real engine, a real store and a folder of objects."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import redis

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.errors import (
    AccessDenied,
    EngineStopped,
    NotFound,
    OutOfDeviceMemory,
    StorageUnavailable,
    StoreUnavailable,
)
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Fence, Output
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.service.desk import Desk
from sigmafarm_worker.service.images import encode, read_parameters
from sigmafarm_worker.service.outlet import Outlet
from sigmafarm_worker.service.poller import Poller
from sigmafarm_worker.service.render import Renderer
from sigmafarm_worker.service.renewer import Renewer
from sigmafarm_worker.service.streak import Streak
from tests.common.store_contract import CONFIG, FakeMs, dispatch, submit, worker
from tests.limits import LIMIT_S, until
from tests.worker.light_model import lighten


class ImpatientClock(SystemClock):
    """Real time in which nobody waits, and which can be put ahead."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s

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


class Store(RedisStore):
    """The store whose next finishes can be made to fail after they were carried out: the reply is lost."""

    errors: list[Exception]

    def finish(self, job_id: str, fence: Fence, output: Output) -> bool:
        answer = super().finish(job_id, fence, output)
        if self.errors:
            raise self.errors.pop()
        return answer


class Bench:
    """A renderer with everything around it."""

    def __init__(self, engine: Engine, folder: Path, client: redis.Redis) -> None:
        self.clock_ms = FakeMs()
        self.store = Store(CONFIG, client, now_ms=self.clock_ms)
        self.store.errors = []
        self.objects = Objects(folder)
        self.engine = engine
        self.desk = Desk(engine, ImpatientClock(), stall_s=30)
        self.broken: list[str] = []
        streak = Streak(3, self.broken.append)
        self.changes: list[str] = []
        self.outlet = Outlet("w1", self.store, self.objects, ImpatientClock(), self._note_change)
        self.clock = ImpatientClock()
        self.renderer = Renderer(
            "w1",
            self.store,
            self.objects,
            self.desk,
            self.clock,
            streak=streak,
            outlet=self.outlet,
            on_engine_end=self.broken.append,
        )

    def _note_change(self) -> None:
        self.changes.append(self.outlet.reason)

    def submit(self, *requests: RenderRequest) -> list[str]:
        """Submit and dispatch requests, and return the job ids."""
        submit(self.store, requests=requests)
        return dispatch(self.store, slots=len(requests))

    def keys(self) -> list[str]:
        return [o.key for o in self.objects.list()]


@pytest.fixture(scope="module")
def model_m(checkpoint: Path) -> Model:
    """Light networks: what is tested is what becomes of jobs, not their pictures."""
    return lighten(load_model(ModelSpec(name="m", path=str(checkpoint))))


@pytest.fixture
def bench(model_m: Model, tmp_path: Path, redis_client: redis.Redis) -> Iterator[Bench]:
    engine = Engine(model_m, max_images=4)
    engine.start()
    yield Bench(engine, tmp_path, redis_client)
    engine.stop()


def draw_in_thread(bench: Bench, job_id: str) -> threading.Thread:
    """Let a job be drawn, and return when its first step is done."""
    thread = threading.Thread(target=bench.renderer.render, args=[job_id])
    thread.start()
    until(lambda: any(b.step for b in bench.desk.beats()), "the first step is done")
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


def test_time_of_storing_counts_from_the_last_pixel(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = bench.submit(picture())

    def encode_slowly(*what: Any) -> bytes:
        bench.clock.ahead_s += 5
        return encode(*what)

    monkeypatch.setattr("sigmafarm_worker.service.render.encode", encode_slowly)
    bench.renderer.render(job_id)

    assert bench.store.job(job_id).upload_ms >= 5000


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


def test_a_picture_that_was_removed_before_its_job_heard_of_it_is_stored_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis goes away; before, a cancel had the picture swept. It comes back without the cancel: its newest write."""
    monkeypatch.setattr("sigmafarm_worker.service.render.UNSURE_S", 0.0)
    (job_id,) = bench.submit(picture())
    finish = bench.store.finish

    def finish_too_late(*_: Any) -> bool:
        monkeypatch.setattr(bench.store, "finish", finish)
        for key in list(bench.keys()):
            bench.objects.delete(key)
        raise StoreUnavailable("away")

    monkeypatch.setattr(bench.store, "finish", finish_too_late)
    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert bench.keys() == [job.image_key]


@pytest.mark.parametrize("error", [RuntimeError("a word of a server to come"), KeyError("state"), OSError("odd")])
def test_what_nobody_foresaw_in_a_delivery_is_waited_out(bench: Bench, error: Exception) -> None:
    jobs = bench.submit(picture(), picture())
    bench.store.errors = [error]
    bench.renderer.render(jobs[0])
    bench.objects.errors = [error]
    bench.renderer.render(jobs[1])

    assert [(bench.store.job(j).state, bench.store.job(j).attempts) for j in jobs] == [(JobState.SUCCEEDED, 0)] * 2


def test_a_picture_that_cannot_be_encoded_is_the_job_s_own_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = bench.submit(picture())
    monkeypatch.setattr("sigmafarm_worker.service.render.encode", lambda *_: 1 / 0)

    bench.renderer.render(job_id)

    assert (bench.store.job(job_id).state, bench.keys()) == (JobState.FAILED, [])


@pytest.mark.parametrize(
    "error",
    [
        AccessDenied("the bucket refuses our key"),
        StorageUnavailable("the disk is full"),
        NotFound("what should be written is not there"),
        ValueError("of a library, unforeseen"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_picture_is_kept_and_delivered_whatever_storing_it_raises_and_meanwhile_no_job_is_claimed(
    bench: Bench, error: Exception
) -> None:
    job_id, other = bench.submit(picture(), picture())
    bench.objects.errors = [error] * 3
    refused: list[str] = []

    def ask_meanwhile() -> None:
        if bench.outlet.is_closed and not refused:
            refused.append(bench.outlet.reason)
            bench.renderer.render(other)

    bench.objects.before_put = ask_meanwhile
    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert (job.state, job.fence, job.attempts, job.history) == (JobState.SUCCEEDED, 1, 0, ())
    assert bench.store.job(other).fence == 0, "a job was claimed while no picture could be stored"
    assert str(error) in refused[0]
    assert [bool(reason) for reason in bench.changes] == [True, False]


@pytest.mark.parametrize(
    ("steer", "state", "outcome"),
    [
        ("hand_back", JobState.QUEUED, "released"),
        ("cancel_batch", JobState.CANCELLED, "cancelled"),
    ],
)
def test_picture_that_cannot_be_stored_is_let_go_when_its_job_is_and_the_record_says_why(
    bench: Bench, steer: str, state: JobState, outcome: str
) -> None:
    (job_id,) = bench.submit(picture())
    bench.objects.errors = [AccessDenied("the key is of yesterday")] * 10

    def steer_once() -> None:
        if len(bench.objects.errors) == 5:
            if steer == "hand_back":
                bench.desk.hand_back()
            else:
                bench.store.cancel_batch(job_id.split("-")[0])
                Poller("w1", bench.store, bench.desk, lambda _: None, SystemClock()).run_once()

    bench.objects.before_put = steer_once
    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert (job.state, job.losses, job.attempts, job.history[0].outcome) == (state, 0, 0, outcome)
    assert ("the key is of yesterday" in job.history[0].error) is (steer == "hand_back")
    assert bench.desk.num_jobs == 0
    assert len(bench.objects.errors) == 4


def test_paused_batch_lets_no_finished_picture_go(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())
    bench.objects.errors = [StorageUnavailable("away")] * 3

    def pause() -> None:
        bench.store.pause_batch(job_id.split("-")[0])
        Poller("w1", bench.store, bench.desk, lambda _: None, SystemClock()).run_once()

    bench.objects.before_put = pause
    bench.renderer.render(job_id)

    assert bench.store.job(job_id).state is JobState.SUCCEEDED


def test_picture_is_handed_over_after_a_while_only_where_another_worker_takes_jobs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigmafarm_worker.service.outlet.PATIENCE_S", -1.0)
    (job_id,) = bench.submit(picture())
    bench.objects.errors = [StorageUnavailable("away")] * 9
    others = [
        worker("ill").model_copy(update={"failing": "it has no way out either"}),
        worker("leaving").model_copy(update={"is_draining": True}),
        worker("for another model").model_copy(update={"models": ("other",)}),
        worker("well"),
    ]

    def another_comes() -> None:
        if len(bench.objects.errors) % 2 == 0 and others:
            bench.store.renew(others.pop(0), [])

    bench.objects.before_put = another_comes
    bench.renderer.render(job_id)

    job = bench.store.job(job_id)
    assert (job.state, job.history[0].outcome) == (JobState.QUEUED, "released")
    assert "away" in job.history[0].error
    assert others == []


def test_closed_outlet_before_which_no_picture_waits_opens_when_the_storage_works_again(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())
    bench.objects.errors = [AccessDenied("no")] * 3
    bench.objects.before_put = bench.desk.hand_back
    bench.renderer.render(job_id)
    assert bench.outlet.is_closed
    bench.objects.errors, bench.objects.before_put = [], lambda: None

    bench.outlet.run_now()

    assert not bench.outlet.is_closed


def test_jobs_whose_upload_hangs_are_handed_back_by_the_worker_that_ends(bench: Bench) -> None:
    (job_id,) = bench.submit(picture())
    hangs, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        may_end.wait(LIMIT_S)

    bench.objects.before_put = hang
    thread = threading.Thread(target=bench.renderer.render, args=[job_id])
    thread.start()
    hangs.wait(LIMIT_S)
    bench.desk.hand_back()

    bench.renderer.give_back_stuck()

    job = bench.store.job(job_id)
    assert (job.state, job.losses, job.history[0].outcome) == (JobState.QUEUED, 0, "released")
    assert "still being stored" in job.history[0].error
    may_end.set()
    thread.join(60)
    assert bench.keys() == [], "the late picture was removed by who sent it"


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
    (job_id,) = bench.submit(picture(num_inference_steps=1000))
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
    may_store = threading.Event()
    bench.objects.before_put = lambda: may_store.wait(LIMIT_S)

    newer = threading.Thread(target=bench.renderer.render, args=[job_id])
    newer.start()
    older.join(LIMIT_S)

    assert not older.is_alive(), "the older try is still drawn"
    until(bench.desk.tries, "the newer try is held")
    assert len(bench.desk.tries()) == 1, "the newer try is held, and it alone"
    assert bench.desk.tries() != first
    renewer = Renewer(bench.store, bench.desk, worker, lease_s=10, clock=SystemClock())
    renewer.run_once()
    may_store.set()
    newer.join(LIMIT_S)
    job = bench.store.job(job_id)
    assert (job.state, job.fence, job.attempts) == (JobState.SUCCEEDED, 2, 0)
    assert bench.keys() == [job.image_key]


@pytest.mark.parametrize(("steer", "state"), [("cancel_batch", JobState.CANCELLED), ("pause_batch", JobState.QUEUED)])
def test_cancel_and_pause_reach_the_engine_between_two_renewals(bench: Bench, steer: str, state: JobState) -> None:
    (job_id,) = bench.submit(picture(num_inference_steps=1000))
    thread = draw_in_thread(bench, job_id)
    getattr(bench.store, steer)(job_id.split("-")[0])

    Poller("w1", bench.store, bench.desk, lambda _: None, SystemClock()).run_once()
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


def test_worker_whose_jobs_fail_one_after_the_other_says_so_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = bench.submit(*[picture() for _ in range(5)])
    bench.renderer.render(jobs[0])

    def fail(*_: object) -> None:
        raise OutOfDeviceMemory("no memory left")

    monkeypatch.setattr(bench.desk, "draw", fail)

    for job_id in jobs[1:3]:
        bench.renderer.render(job_id)
    assert bench.broken == []
    for job_id in jobs[3:]:
        bench.renderer.render(job_id)

    assert bench.broken == ["3 jobs in a row failed here; last: no memory left"]
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


def test_job_whose_failure_waits_to_be_told_does_not_stand_still(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = bench.submit(picture())
    fail, moved = bench.store.fail, list[bool]()
    desk_clock = ImpatientClock()
    monkeypatch.setattr(bench.desk, "_clock", desk_clock)

    def fail_late(*said: Any, **more: Any) -> JobState | None:
        desk_clock.ahead_s += 1000
        moved.extend(beat.has_moved for beat in bench.desk.beats())
        return fail(*said, **more)

    def break_off(*_what: object) -> bytes:
        raise ValueError("no such mode")

    monkeypatch.setattr(bench.store, "fail", fail_late)
    monkeypatch.setattr("sigmafarm_worker.service.render.encode", break_off)
    bench.renderer.render(job_id)

    assert moved == [True]
    assert bench.store.job(job_id).error_code == "render_failed"


def submit_equal(bench: Bench, model: Model) -> tuple[str, str]:
    """Have a job drawn, and return its id and that of an equal one that may take its picture."""
    (first,) = bench.submit(picture())
    bench.renderer.render(first)
    submit(bench.store, requests=[picture()], reuse=True)
    bench.store.renew(worker(slots=1).model_copy(update={"fingerprints": {"m": model.card().fingerprint}}), [])
    (again,) = [d.job_id for d in bench.store.dispatch()]
    return first, again


def test_the_picture_of_an_equal_job_is_copied_and_nothing_is_drawn(
    bench: Bench, model_m: Model, monkeypatch: pytest.MonkeyPatch
):
    first, again = submit_equal(bench, model_m)
    monkeypatch.setattr(bench.engine, "submit", None)

    bench.renderer.render(again)

    one, two = bench.store.job(first), bench.store.job(again)
    assert (two.state, two.reused_from, two.fingerprint) == (JobState.SUCCEEDED, first, one.fingerprint)
    assert (two.sha256, two.size_bytes) == (one.sha256, one.size_bytes)
    assert two.image_key != one.image_key, "it has a picture of its own, which lives as long as its batch"
    assert bench.objects.get(two.image_key) == bench.objects.get(one.image_key)
    assert bench.desk.num_jobs == 0


@pytest.mark.parametrize("fate", ["removed", "changed"])
def test_a_picture_that_is_not_there_any_more_is_drawn_again(bench: Bench, model_m: Model, fate: str):
    first, again = submit_equal(bench, model_m)
    key = bench.store.job(first).image_key
    if fate == "removed":
        bench.objects.delete(key)
    else:
        bench.objects.put(key, b"another", "image/png")

    bench.renderer.render(again)

    job = bench.store.job(again)
    assert (job.state, job.reused_from) == (JobState.SUCCEEDED, "")
    assert read_parameters(bench.objects.get(job.image_key)).settings["prompt"] == job.request.prompt


@pytest.mark.parametrize("was_drawn", [True, False])
def test_engine_that_ends_costs_no_try_and_nothing_more_is_begun(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, was_drawn: bool
) -> None:
    """Who waited is handed back. Who was drawn may be what ended it: it is left to whoever takes back a dead worker's
    jobs, which counts as a loss."""
    job_id, other = bench.submit(picture("first"), picture("second"))
    ended = EngineStopped("the engine failed (AcceleratorError: x)", was_drawn=was_drawn)

    def raise_it(*_: object) -> None:
        raise ended

    monkeypatch.setattr(bench.desk, "draw", raise_it)
    bench.renderer.render(job_id)
    bench.renderer.render(other)

    assert bench.broken == [str(ended)]
    assert bench.store.job(job_id).state is (JobState.RUNNING if was_drawn else JobState.QUEUED)
    assert bench.store.job(other).fence == 0, "never claimed"
    assert bench.desk.num_jobs == 0
    bench.store.release_worker("w1")
    job = bench.store.job(job_id)
    assert (job.state, job.attempts, job.losses) == (JobState.QUEUED, 0, int(was_drawn))
