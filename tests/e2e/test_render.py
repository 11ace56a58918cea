"""Prompts go in, pictures come out: real supervisors and workers, a real server, a folder of objects."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sigmafarm import Farm
from sigmafarm_common.states import JobState
from tests.farm_harness import FarmHarness, until
from tests.redis_server import RedisServer

pytestmark = pytest.mark.slow

MakeFarm = Callable[..., FarmHarness]


def submit(farm: FarmHarness, num_jobs: int, **defaults: object) -> str:
    """Submit numbered prompts and return the batch id."""
    with Farm(farm.config) as producer:
        return producer.submit([f"prompt {n}" for n in range(num_jobs)], defaults=defaults).id


def check_pictures(farm: FarmHarness, batch_id: str) -> None:
    """Every job succeeded once, and the objects are those pictures and nothing else."""
    jobs = farm.store.jobs(batch_id, limit=10_000)
    assert {j.state for j in jobs} == {JobState.SUCCEEDED}
    for job in jobs:
        data = farm.objects.get(job.image_key)
        assert hashlib.sha256(data).hexdigest() == job.sha256
        assert Image.open(io.BytesIO(data)).size == (job.request.width, job.request.height)
    keys = {o.key for o in farm.objects.list(f"{batch_id}/")}
    assert keys == {j.image_key for j in jobs} | {f"{batch_id}/manifest.jsonl"}


def test_mixed_batch_is_drawn_with_manifest_progress_and_clean_end(make_farm: MakeFarm) -> None:
    farm = make_farm(max_images=4)
    supervisor = farm.start_worker()
    rows = [
        {"prompt": "a", "num_inference_steps": 3},
        {"prompt": "b", "guidance_scale": 1.0, "width": 96},
        {"prompt": "c", "negative_prompt": "red", "output_format": "jpeg", "seed": 7},
        {"prompt": "d", "karras_sigmas": True, "lms_order": 2, "output_format": "webp"},
    ] * 4
    farm.wait_for_workers(1)
    with Farm(farm.config) as producer:
        batch = producer.submit(rows, name="mixed")

    farm.wait_for_batch(batch.id)
    farm.wait_for_manifest(batch.id)

    check_pictures(farm, batch.id)
    lines = farm.objects.get(f"{batch.id}/manifest.jsonl").decode().splitlines()
    assert [json.loads(line)["row"] for line in lines] == list(range(16))
    supervisor.terminate()
    assert supervisor.wait() == 0
    assert farm.store.workers() == []


def test_killed_worker_loses_nothing_and_doubles_nothing(make_farm: MakeFarm) -> None:
    farm = make_farm(max_images=4)
    farm.start_worker()
    farm.start_worker()
    workers = farm.wait_for_workers(2)
    batch_id = submit(farm, 60, num_inference_steps=60)
    until(lambda: all(w.num_jobs for w in farm.workers()), "both workers draw")
    until(lambda: farm.store.batch(batch_id).counts.succeeded >= 5, "some pictures are done")

    os.kill(workers[0].pid, signal.SIGKILL)

    until(lambda: any(j.losses for j in farm.store.jobs(batch_id, limit=100)), "its jobs are taken back", 10)
    farm.wait_for_batch(batch_id)
    farm.wait_for_manifest(batch_id)
    check_pictures(farm, batch_id)
    assert len(farm.wait_for_workers(2)) == 2  # the supervisor has replaced it


def test_told_to_end_a_worker_hands_back_what_it_cannot_finish_in_time(make_farm: MakeFarm) -> None:
    farm = make_farm(max_images=4, drain_s=0.5)
    supervisor = farm.start_worker()
    farm.wait_for_workers(1)
    batch_id = submit(farm, 4, num_inference_steps=1000)
    until(lambda: all(j.step for j in farm.store.jobs(batch_id)), "all four are drawn")

    supervisor.terminate()

    assert supervisor.wait(30) == 0
    jobs = farm.store.jobs(batch_id)
    assert [(j.state, j.losses, j.attempts) for j in jobs] == [(JobState.QUEUED, 0, 0)] * 4
    assert {j.history[0].outcome for j in jobs} == {"released"}


def test_frozen_worker_is_replaced_and_its_jobs_go_on(make_farm: MakeFarm) -> None:
    farm = make_farm(max_images=4, stall_s=1.0)
    farm.start_worker()
    (worker,) = farm.wait_for_workers(1)
    batch_id = submit(farm, 8, num_inference_steps=100)
    until(lambda: any(j.step for j in farm.store.jobs(batch_id)), "it draws")

    os.kill(worker.pid, signal.SIGSTOP)

    farm.wait_for_batch(batch_id)
    farm.wait_for_manifest(batch_id)
    check_pictures(farm, batch_id)
    assert {j.worker for j in farm.store.jobs(batch_id)} != {worker.id}


def test_worker_whose_supervisor_was_killed_ends_by_itself(make_farm: MakeFarm) -> None:
    farm = make_farm(max_images=4, drain_s=0.5)
    supervisor = farm.start_worker()
    (worker,) = farm.wait_for_workers(1)

    supervisor.kill()

    until(lambda: not farm.store.workers(), "the orphan has ended", 30)
    until(lambda: not os.path.exists(f"/proc/{worker.pid}"), "its process is gone", 30)


def test_cancelled_and_paused_jobs_leave_the_engine(make_farm: MakeFarm) -> None:
    farm = make_farm(max_images=4, lease_s=2.0)
    farm.start_worker()
    farm.wait_for_workers(1)
    cancelled = submit(farm, 2, num_inference_steps=1000)
    paused = submit(farm, 2, num_inference_steps=1000)
    until(lambda: all(j.step for b in (cancelled, paused) for j in farm.store.jobs(b)), "all are drawn")

    farm.store.cancel_batch(cancelled)
    farm.store.pause_batch(paused)

    assert farm.states(cancelled) == {JobState.CANCELLED: 2}
    until(lambda: farm.states(paused) == {JobState.QUEUED: 2}, "the paused jobs are queued again")
    last = submit(farm, 4)
    farm.wait_for_batch(last)
    assert farm.states(cancelled) == {JobState.CANCELLED: 2}
    assert farm.states(paused) == {JobState.QUEUED: 2}


def test_redis_that_crashes_and_comes_back_is_survived_by_the_same_worker(
    make_farm: MakeFarm, crashable: RedisServer
) -> None:
    farm = make_farm(redis_url=crashable.url, max_images=4, lease_s=4.0)
    farm.start_worker()
    (worker,) = farm.wait_for_workers(1)
    batch_id = submit(farm, 40, num_inference_steps=40)
    until(lambda: farm.store.batch(batch_id).counts.succeeded >= 4, "some pictures are done")

    crashable.kill()
    crashable.start()

    farm.wait_for_batch(batch_id)
    farm.wait_for_manifest(batch_id)
    check_pictures(farm, batch_id)
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]


def test_job_whose_record_was_spoiled_fails_with_the_reason_and_its_neighbours_do_not(make_farm: MakeFarm) -> None:
    farm = make_farm(max_images=4)
    batch_id = submit(farm, 3)
    spoiled = f"{batch_id}-000001"
    farm.store.client.set(f"sigmafarm:job:{spoiled}:request", '{"prompt": "x", "width": 515}')

    farm.start_worker()
    farm.wait_for_batch(batch_id)

    assert farm.states(batch_id) == {JobState.SUCCEEDED: 2, JobState.FAILED: 1}
    assert farm.store.job(spoiled).error_code == "spoiled_record"


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ('[models.m]\npath = "nowhere"\n', "nowhere"),
        ("[models.m]\n", "names no path"),
        ("models = 3", "names no model"),
        ("[models", "is no TOML"),
    ],
)
def test_models_that_cannot_be_served_end_the_worker_with_a_sentence(
    make_farm: MakeFarm, tmp_path: Path, models: str, words: str
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(models)
    supervisor = make_farm(models_file=file).start_worker()

    assert supervisor.wait() == 2

    assert words in supervisor.log.read_text()
    assert "Traceback" not in supervisor.log.read_text()


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"redis_url": "redis://127.0.0.1:1/0"}, 3, "Redis is out of reach"),
        ({"redis_url": "redis://:wrong@{locked}"}, 3, "refuses our credentials"),
        ({"objects_url": "/proc/nowhere"}, 2, "/proc/nowhere"),
    ],
)
def test_service_that_is_away_ends_the_worker_with_a_sentence(
    make_farm: MakeFarm, locked: str, settings: dict[str, str], code: int, words: str
) -> None:
    farm = make_farm(**{k: v.replace("{locked}", locked) for k, v in settings.items()})
    supervisor = farm.start_worker()

    assert supervisor.wait() == code

    assert words in supervisor.log.read_text()
    assert "Traceback" not in supervisor.log.read_text()
