"""Waits that say why nothing happens: who takes jobs, what a job's try came to, once and no more."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from rich.console import Console

from sigmafarm import Farm, NotFound, waiting
from sigmafarm.as_drawn import drawn_jobs
from sigmafarm.takers import why_it_waits, why_none_takes
from sigmafarm.waiting import IDLE_LOOK_S, batch_wait, job_wait, progress_bar, wait_for_batch, wait_for_job
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.errors import RecordsLost
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store.values import Beat
from tests.command_line import Run, runner
from tests.farm_hand import FarmHand, a_pace


class Told:
    """A clock that goes as far as it is waited for, and does something at each wait."""

    def __init__(self, *acts: Callable[[], object]):
        self.now_s, self._acts = 0.0, list(acts)

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.now_s += timeout_s
        if self._acts and self.now_s > IDLE_LOOK_S * 2:
            self._acts.pop(0)()
        return event.is_set()


def a_worker(name: str = "w1", models: tuple[str, ...] = ("tiny",), **about: Any) -> WorkerInfo:
    return WorkerInfo(id=name, models=models, host="h", pid=1, device="cpu", slots=4, lookahead=1, **about)


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (
            [],
            "no worker takes jobs for tiny: none lives; one that died is replaced in some seconds, one that starts "
            "loads its model first",
        ),
        (
            [a_worker(is_draining=True)],
            "worker w1 is drained; `sigmafarm undrain w1`, or its button",
        ),
        ([a_worker(failing="5 jobs in a row failed")], "worker w1 takes none: 5 jobs in a row failed"),
        ([a_worker(models=("a", "b"))], "those that live have a, b; start one whose models file names it"),
        ([a_worker(models=())], "those that live have none at all"),
        ([a_worker(models=("a",), broken={"tiny": "no unet"})], "worker w1 cannot load it: no unet"),
        ([a_worker(f"w{n}", is_draining=True) for n in range(9)], "and 4 more"),
        ([a_worker(), a_worker("w2", is_draining=True)], ""),
    ],
)
def test_why_nobody_takes_a_models_jobs(workers: list[WorkerInfo], words: str):
    why = why_none_takes("tiny", workers)

    assert words in why
    assert bool(words) is bool(why)


def test_a_batch_waits_for_a_reason_only_while_nothing_of_it_is_drawn(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a", "b"])
    assert why_it_waits(farm.store, batch.record) == "", "a worker takes them"
    farm.store.drain_worker(hand.info.id)
    farm.store.renew(hand.info.model_copy(update={"is_draining": True}), [])
    assert "worker hand is drained" in why_it_waits(farm.store, batch.record)
    batch.pause()
    assert f"`sigmafarm resume {batch.id}`" in why_it_waits(farm.store, batch.record)
    batch.resume()
    farm.store.drain_worker(hand.info.id, is_draining=False)
    hand.claim()
    assert why_it_waits(farm.store, batch.record) == "", "it is drawn"
    batch.cancel()
    assert why_it_waits(farm.store, batch.record) == "", "it is over"


def test_a_wait_says_once_that_nobody_takes_the_jobs(farm: Farm, hand: FarmHand, capsys: pytest.CaptureFixture[str]):
    batch = farm.submit(["a"])
    farm.store.renew(hand.info.model_copy(update={"is_draining": True}), [])

    wait_for_batch(farm.store, batch.id, Told(), has_progress=True, timeout_s=60)

    assert capsys.readouterr().err.split().count("drained;") == 1
    wait_for_batch(farm.store, batch.id, Told(), has_progress=True, timeout_s=IDLE_LOOK_S / 2)
    wait_for_batch(farm.store, batch.id, Told(), timeout_s=60)
    assert capsys.readouterr().err == "", "a short wait says nothing, nor does one without a bar"


def test_a_wait_that_finds_nobody_after_a_while_says_so_too(
    farm: Farm, hand: FarmHand, capsys: pytest.CaptureFixture[str]
):
    batch = farm.submit(["a", "b"])
    moments = [lambda: None] * 20
    clock = Told(lambda: farm.store.forget_worker(hand.info.id), *moments, batch.pause)

    wait_for_batch(farm.store, batch.id, clock, has_progress=True, timeout_s=60)

    said = " ".join(capsys.readouterr().err.split())
    assert said.index("none lives") < said.index("is paused")


def test_a_batch_that_goes_while_it_is_waited_for_was_lost_and_one_that_never_was_is_not_found(
    farm: Farm, hand: FarmHand, redis_client: redis.Redis
):
    batch = farm.submit(["a boat"])
    job = batch.id + "-000000"
    looks = [batch_wait(farm.store, batch.id, SystemClock()), job_wait(farm.store, job, SystemClock())]
    looks.append(drawn_jobs(farm.store, batch.id, SystemClock(), look_s=0))
    for look in looks:
        next(look)
    redis_client.flushall()

    for look in looks:
        with pytest.raises(RecordsLost, match=r"was accepted, and its records are gone.*send it again"):
            list(look)
    with pytest.raises(NotFound):
        list(batch_wait(farm.store, batch.id, SystemClock()))


def test_a_jobs_wait_shows_its_steps_and_why_it_is_drawn_anew(
    farm: Farm, hand: FarmHand, capsys: pytest.CaptureFixture[str]
):
    batch = farm.submit(["a"])
    (claim,) = hand.claim()

    def begin() -> None:
        farm.store.renew(hand.info, [Beat(claim.job_id, claim.fence, 5, has_moved=True)])

    def fall() -> None:
        farm.store.fail(claim.job_id, claim.fence, code="oops", message="the device fell off", retryable=True)

    done = wait_for_job(farm.store, claim.job_id, Told(begin, fall, lambda: None, batch.cancel))

    said = " ".join(capsys.readouterr().err.split())
    assert done.state == "cancelled"
    assert said.count("a try ended without a picture (error on worker hand): the device fell off") == 1


def test_a_jobs_wait_begins_with_its_last_try(farm: Farm, hand: FarmHand, capsys: pytest.CaptureFixture[str]):
    batch = farm.submit(["a"])
    (claim,) = hand.claim()
    farm.store.fail(claim.job_id, claim.fence, code="oops", message="it fell off", retryable=True)

    wait_for_job(farm.store, claim.job_id, Told(batch.cancel))

    assert capsys.readouterr().err.count("it fell off") == 1
    wait_for_job(farm.store, claim.job_id, Told())
    assert capsys.readouterr().err == "", "what is over has its tries in its record"


def test_the_program_follows_a_job_and_ends_as_it_does(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run: Run = runner(farm, monkeypatch, capsys)
    batch = farm.submit(["a", "fail b"])
    hand.work_all()

    good, bad = (run("status", f"{batch.id}-00000{row}", "--watch") for row in (0, 1))

    assert (good.code, bad.code) == (0, 1)
    assert "no luck" in bad.out
    assert run("status", f"{batch.id}-000001").code == 0


def test_the_farms_status_says_what_nobody_takes(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run: Run = runner(farm, monkeypatch, capsys)
    farm.submit(["a"])
    assert "no worker takes jobs" not in run("status").out

    farm.store.renew(hand.info.model_copy(update={"is_draining": True}), [])

    assert "no worker takes jobs for tiny: worker hand is drained" in " ".join(run("status").out.split())


def test_a_batchs_status_and_its_jobs_say_why_nothing_is_drawn(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run: Run = runner(farm, monkeypatch, capsys)
    batch = farm.submit(["a"])
    assert "no worker takes jobs" not in run("status", batch.id).out

    farm.store.renew(hand.info.model_copy(update={"is_draining": True}), [])

    for thing in (batch.id, f"{batch.id}-000000"):
        assert "no worker takes jobs for tiny: worker hand is drained" in " ".join(run("status", thing).out.split())
    batch.pause()
    assert f"`sigmafarm resume {batch.id}`" in " ".join(run("status", f"{batch.id}-000000").out.split())
    batch.cancel()
    assert "no worker takes jobs" not in run("status", f"{batch.id}-000000").out


def test_a_bar_tells_the_time_left_at_the_farms_pace_unless_nobody_draws(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    def seen() -> str:
        out = io.StringIO()
        console = Console(file=out, force_terminal=True, width=200)
        monkeypatch.setattr(waiting, "progress_bar", lambda **about: progress_bar(console, **about))
        wait_for_batch(farm.store, batch.id, Told(), has_progress=True, timeout_s=30)
        return out.getvalue()

    batch = farm.submit(["a"] * 4)
    assert " left" not in seen(), "nothing was drawn yet"
    farm.submit(["b"], priority=9)
    a_pace(farm)
    hand._finish(hand.claim()[0])

    assert re.search(r"0%, \d running, (about \d+ to|less than) \d+ s left", seen())
    farm.store.forget_worker(hand.info.id)
    batch = farm.submit(["c"] * 4)
    last = seen()
    assert "none lives" in last
    assert " left" not in last.split("none lives")[1]


def test_a_job_that_waits_is_looked_at_less_and_less_often_and_its_batch_hardly(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    batch = farm.submit(["a", "b"])
    job_id, store, looks = f"{batch.id}-000001", farm.store, {"job": 0, "batch": 0}

    def counted(name: str) -> None:
        read = getattr(store, name)

        def look(thing: str) -> Any:
            looks[name] += 1
            return read(thing)

        monkeypatch.setattr(store, name, look)

    counted("job")
    counted("batch")
    clock = Told(*[lambda: None] * 25, hand.work_all)

    wait_for_job(store, job_id, clock)

    assert clock.now_s > 40
    assert looks["job"] <= 8 + clock.now_s / 2
    assert looks["batch"] <= 2 + clock.now_s / IDLE_LOOK_S
    assert looks["batch"] < looks["job"]


def test_status_and_lists_tell_the_time_left_and_the_turn_of_a_job(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run: Run = runner(farm, monkeypatch, capsys)
    hand.info = hand.info.model_copy(update={"slots": 1, "lookahead": 0})
    batch = farm.submit(["a"] * 40)
    a_pace(farm)
    hand.work()
    hand.claim()

    whole, one, listed = run("status", batch.id), run("status", f"{batch.id}-000011"), run("jobs", batch.id)
    said, job = run("status", batch.id, "--json").json, run("status", f"{batch.id}-000011", "--json").json

    assert re.search(r"done +2%, about \d+ to \d+ \w+ left", whole.out)
    assert re.search(r"^10th of 38 waiting; about \d+ s to \d+ min$", one.out, re.MULTILINE)
    assert re.search(r"2% done, about \d+ to \d+ \w+ left", listed.err)
    assert "about" in run("status").out
    assert said["eta_range_s"][0] < said["eta_s"] < said["eta_range_s"][1]
    assert (job["queue_position"], job["queue_length"], job["is_position_exact"]) == (10, 38, True)
    assert job["eta_range_s"][0] <= job["eta_s"] <= job["eta_range_s"][1] < said["eta_range_s"][1]
