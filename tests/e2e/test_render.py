"""Prompts go in, pictures come out: real workers with the real engine, a real server, a folder of objects."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from sigmafarm import Farm
from sigmafarm_common.states import JobState
from tests.e2e.conftest import LivingFarm
from tests.farm_harness import FarmHarness
from tests.limits import until

pytestmark = pytest.mark.slow

#: The address space of one of glibc's heaps for threads.
HEAP_BYTES = 64 << 20

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


def test_equal_jobs_are_drawn_once_and_each_has_its_picture(living: LivingFarm) -> None:
    said = {"prompt": "once", "seed": 5, "num_inference_steps": 2}
    with Farm(living.config) as producer:
        batch = producer.submit([said] * 4, reuse=True)
        living.wait_for_batch(batch.id)
        again = producer.submit([said, {**said, "seed": 6}], reuse=True)
        living.wait_for_batch(again.id)

    living.wait_for_manifest(batch.id)
    check_pictures(living, batch.id)
    first, *others = living.store.jobs(batch.id)
    assert {j.sha256 for j in (first, *others)} == {first.sha256}
    copied, drawn = living.store.jobs(again.id)
    assert (copied.sha256, bool(copied.reused_from), drawn.reused_from) == (first.sha256, True, "")
    assert [living.store.batch(b.id).num_reused for b in (batch, again)] == [3, 1]


def test_mixed_batch_is_drawn_with_manifest(living: LivingFarm) -> None:
    rows = [
        {"prompt": "a", "num_inference_steps": 3},
        {"prompt": "b", "guidance_scale": 1.0, "width": 96},
        {"prompt": "c", "negative_prompt": "red", "output_format": "jpeg", "seed": 7},
        {"prompt": "d", "karras_sigmas": True, "lms_order": 2, "output_format": "webp"},
    ] * 4
    with Farm(living.config) as producer:
        batch = producer.submit(rows, name="mixed")

    living.wait_for_batch(batch.id)
    living.wait_for_manifest(batch.id)

    check_pictures(living, batch.id)
    lines = living.objects.get(f"{batch.id}/manifest.jsonl").decode().splitlines()
    assert [json.loads(line)["row"] for line in lines] == list(range(16))


def test_cancelled_and_paused_jobs_leave_the_engine(living: LivingFarm) -> None:
    cancelled = submit(living, 2, num_inference_steps=1000)
    paused = submit(living, 2, num_inference_steps=1000)
    until(lambda: all(j.step for b in (cancelled, paused) for j in living.store.jobs(b)), "all are drawn")

    living.store.cancel_batch(cancelled)
    living.store.pause_batch(paused)

    assert living.states(cancelled) == {JobState.CANCELLED: 2}
    until(lambda: living.states(paused) == {JobState.QUEUED: 2}, "the paused jobs are queued again")
    last = submit(living, 4)
    living.wait_for_batch(last)
    assert living.states(cancelled) == {JobState.CANCELLED: 2}
    assert living.states(paused) == {JobState.QUEUED: 2}


def test_redis_that_crashes_and_comes_back_is_survived_by_the_same_worker(living: LivingFarm) -> None:
    (worker,) = living.wait_for_workers(1)
    batch_id = submit(living, 24, num_inference_steps=40)
    until(lambda: living.store.batch(batch_id).counts.succeeded >= 4, "some pictures are done")

    living.server.kill()
    living.server.start()

    living.wait_for_batch(batch_id)
    living.wait_for_manifest(batch_id)
    check_pictures(living, batch_id)
    assert [w.pid for w in living.wait_for_workers(1)] == [worker.pid]


def test_told_to_end_a_worker_hands_back_what_it_cannot_finish_in_time(living: LivingFarm) -> None:
    batch_id = submit(living, 4, num_inference_steps=1000)
    until(lambda: all(j.step for j in living.store.jobs(batch_id)), "all four are drawn")

    living.supervisors[-1].terminate()

    assert living.supervisors[-1].wait() == 0
    jobs = living.store.jobs(batch_id)
    assert [(j.state, j.losses, j.attempts) for j in jobs] == [(JobState.QUEUED, 0, 0)] * 4
    assert {j.history[0].outcome for j in jobs} == {"released"}
    assert living.store.workers() == []
    living.store.cancel_batch(batch_id)


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
        ({"objects_url": "/proc/nowhere"}, 3, "/proc/nowhere"),
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


def num_thread_heaps(pid: int) -> int:
    """Return how many heaps glibc made for threads of a process: pieces of 64 MiB, of which a part is in use."""
    rows = [line.split(maxsplit=2) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    spans = [(*(int(end, 16) for end in span.split("-")), mode) for span, mode, _ in rows]
    return sum(
        not start % HEAP_BYTES and mode == "rw-p" and (middle, start + HEAP_BYTES, "---p") == following
        for (start, middle, mode), following in pairwise(spans)
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
def test_a_worker_has_one_heap_for_all_threads_and_keeps_what_is_freed(living: LivingFarm) -> None:
    living.wait_for_batch(submit(living, 4, num_inference_steps=2))

    (worker,) = living.wait_for_workers(1)
    assert num_thread_heaps(worker.pid) == 0
