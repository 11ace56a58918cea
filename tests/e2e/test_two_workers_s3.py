"""Two workers on a separate Redis and a real HTTP S3 server, told everything by the environment; one is killed.

What a stranger would do: `sigmafarm worker` twice, `sigmafarm submit`, `sigmafarm status`. Afterwards the records, the
bucket and the manifest are compared with each other.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sigmafarm_common.config import Config
from sigmafarm_common.objects import open_objects
from sigmafarm_common.objects.bucket import make_bucket
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis_store import RedisStore
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.limits import until
from tests.redis_server import RedisServer
from tests.terminal import Terminal

pytestmark = pytest.mark.slow

NUM_JOBS = 200
#: The lease of a job, far beyond the limit of any wait here: what a killed worker held is drawn again because its
#: supervisor gives it back at once, or not at all.
LEASE_S = 600


@pytest.fixture
def terminal(
    crashable: RedisServer, models_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """A terminal whose environment names the farm; this process sees the same one, to look into the bucket."""
    pytest.importorskip("moto.server")
    with moto_server() as url:
        variables = {
            "SIGMAFARM_REDIS_URL": crashable.url,
            "SIGMAFARM_OBJECTS_URL": "s3://pictures/farm",
            "SIGMAFARM_S3_ENDPOINT_URL": url,
            "SIGMAFARM_MODELS_FILE": str(models_file),
            "SIGMAFARM_NUM_THREADS": "1",
            "SIGMAFARM_MAX_IMAGES": "8",
            "SIGMAFARM_LEASE_S": str(LEASE_S),
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        make_bucket(Config())
        terminal = Terminal(tmp_path)
        yield terminal
        terminal.close()


def mixed_rows() -> list[dict[str, Any]]:
    """Settings of every kind, in every company: no two neighbours alike. The last ones take longer: a worker that is
    killed before it holds some of them, however late the test comes to that."""
    rows: list[dict[str, Any]] = []
    for n in range(NUM_JOBS):
        steps = (2, 5, 3, 1, 8)[n % 5] * (1 if n < NUM_JOBS - 32 else 8)
        row: dict[str, Any] = {"prompt": f"number {n}", "num_inference_steps": steps, "seed": n}
        row["guidance_scale"] = (1.0, 7.5, 3.0)[n % 3]
        row["height"], row["width"] = ((64, 64), (64, 96), (96, 64))[n % 7 % 3]
        row["output_format"] = ("png", "jpeg", "webp")[n % 11 % 3]
        if n % 4 == 0:
            row["negative_prompt"] = "fog"
        if n % 6 == 0:
            row |= {"karras_sigmas": True, "lms_order": 2}
        rows.append(row)
    return rows


def status(terminal: Terminal, batch_id: str) -> dict[str, int]:
    """The counts that `sigmafarm status` tells, which must sum to the whole batch at any time."""
    counts = terminal.json("status", batch_id)["counts"]
    assert sum(n for state, n in counts.items() if state != "total") == counts["total"] == NUM_JOBS
    return counts


def check_pictures(jobs: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Each picture is the one its record names, in the asked size and format."""
    objects = open_objects(Config())
    for job, row in zip(jobs, rows, strict=True):
        data = objects.get(job["image_key"])
        assert hashlib.sha256(data).hexdigest() == job["sha256"]
        image = Image.open(io.BytesIO(data))
        assert (image.size, image.format) == ((row["width"], row["height"]), row["output_format"].upper())


def check_bucket(batch_id: str, jobs: list[dict[str, Any]]) -> None:
    """The bucket holds one object a job and the manifest, which tells of them all, and nothing else."""
    objects = open_objects(Config())
    manifest = f"{batch_id}/manifest.jsonl"
    assert {o.key for o in objects.list()} == {job["image_key"] for job in jobs} | {manifest}
    lines = [json.loads(line) for line in objects.get(manifest).decode().splitlines()]
    assert [(line["row"], line["key"], line["sha256"], line["state"]) for line in lines] == [
        (n, job["image_key"], job["sha256"], "succeeded") for n, job in enumerate(jobs)
    ]


def leave_a_picture(job: Job) -> None:
    """Do what a worker has done that dies between upload and finish: leave an object that no record names."""
    key = f"{job.batch_id}/{job.row:06d}-f{job.history[0].fence}-00000000.png"
    open_objects(Config()).put(key, b"half a try", "image/png")


def test_200_mixed_jobs_succeed_once_though_one_of_two_workers_is_killed(terminal: Terminal) -> None:
    rows = mixed_rows()
    (terminal.folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = RedisStore(Config())  # what is only waited for is asked of the store: a command takes its time to start
    for n in range(2):
        terminal.start("worker", log=f"worker-{n}.log")
    until(lambda: len(store.workers()) == 2, "both workers are ready")

    batch_id = terminal.json("submit", "prompts.jsonl", "--name", "mixed")["batch"]["id"]
    early = store.batch(batch_id).counts
    until(lambda: store.batch(batch_id).counts.succeeded >= NUM_JOBS // 4, "some pictures are done")
    running = Counter(job.worker for job in store.jobs(batch_id, limit=NUM_JOBS) if job.state is JobState.RUNNING)
    victim = max(store.workers(), key=lambda worker: running[worker.id])
    os.kill(victim.pid, signal.SIGKILL)
    assert running[victim.id], "it holds jobs"
    middle = status(terminal, batch_id)
    until(lambda: _lost(store, batch_id), "the jobs of the killed worker are taken back")
    leave_a_picture(_lost(store, batch_id)[0])
    until(lambda: store.batch(batch_id).counts.is_done, "every job has ended")
    late = status(terminal, batch_id)
    until(lambda: batch_id not in store.finished_batches(), "the manifest is written")

    jobs = terminal.json("jobs", batch_id, "--limit", "0")["jobs"]
    assert {(job["state"], job["attempts"]) for job in jobs} == {("succeeded", 0)}
    assert [job["row"] for job in jobs] == list(range(NUM_JOBS))
    check_pictures(jobs, rows)
    check_bucket(batch_id, jobs)
    assert early.queued > 0
    assert early.succeeded < middle["succeeded"] < late["succeeded"] == NUM_JOBS
    taken = [job for job in jobs if job["losses"]]
    assert taken, "the killed worker held jobs"
    assert {tries["worker"] for job in taken for tries in job["history"]} == {victim.id}


def _lost(store: RedisStore, batch_id: str) -> list[Job]:
    return [job for job in store.jobs(batch_id, limit=NUM_JOBS) if job.losses]
