"""Who races: the farm, and the two baselines. Each is a worker process that has its model resident when a race begins,
on a Redis of its own and a bucket of the same S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
from celery import Celery

from sigmafarm import Farm
from sigmafarm_common.objects.bucket import make_bucket
from tests.bench.race.baselines import DONE, QUEUE, READY
from tests.bench.race.loads import Asked
from tests.common.s3_servers import KEY_ID, SECRET
from tests.farm_harness import FarmHarness
from tests.limits import until
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
#: Seconds between two looks for what is done: short against a picture, and next to nothing of a core.
LOOK_S = 0.02
#: Seconds that a race may take.
LONGEST_RACE_S = 3600.0


@dataclass(frozen=True)
class Place:
    """What all contenders share."""

    folder: Path
    model: Path
    model_name: str
    device: str
    threads: int
    #: Where pictures go.
    s3_url: str
    is_compiled: bool = False


class Contender(Protocol):
    """A program that draws what it is asked for."""

    name: str

    def start(self) -> None:
        """Start it and wait until its model is resident."""

    def submit(self, asked: Sequence[Asked]) -> list[str]:
        """Hand jobs over, and return their names."""

    def wait(self, jobs: Sequence[str]) -> dict[str, float]:
        """Wait until all of these are stored, and return when each was, in seconds since 1970."""

    def are_stored(self, jobs: Sequence[str]) -> bool:
        """Whether all of these are stored."""

    def pids(self) -> list[int]:
        """Its processes that do the work, who watches before whom it watches; not its Redis server."""

    def close(self) -> None:
        """End all its processes."""


class Baseline:
    """b0 or b1: a worker of baselines.py."""

    def __init__(self, name: str, place: Place):
        self.name, self._place = name, place
        self._server = RedisServer(place.folder / name / "redis", has_aof=True, options=("--appendfsync", "everysec"))
        self._process: subprocess.Popen[bytes] | None = None
        self._num = 0

    def start(self) -> None:
        self._server.start()
        self._client = self._server.client()
        log = (self._place.folder / f"{self.name}.log").open("ab")
        with log:
            self._process = subprocess.Popen(self._command(), env=self._environment(), cwd=ROOT, stdout=log, stderr=log)
        until(lambda: bool(self._client.llen(READY)) or not self._is_alive(), f"{self.name} is ready")
        assert self._is_alive(), (self._place.folder / f"{self.name}.log").read_text()[-3000:]
        self._app = Celery(broker=self._server.url, set_as_current=False)

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _command(self) -> list[str]:
        if self.name == "b1":
            return [sys.executable, "-m", "tests.bench.race.baselines"]
        options = ["-P", "solo", "-l", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        return [sys.executable, "-m", "celery", "-A", "tests.bench.race.baselines", "worker", *options]

    def _environment(self) -> Mapping[str, str]:
        place = self._place
        return {
            **os.environ,
            "RACE_REDIS_URL": self._server.url,
            "RACE_S3_URL": place.s3_url,
            "RACE_BUCKET": "race",
            "RACE_MODEL": str(place.model),
            "RACE_DEVICE": place.device,
            "RACE_THREADS": str(place.threads),
            "RACE_COMPILE": "1" if place.is_compiled else "",
            "OMP_NUM_THREADS": str(place.threads),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }

    def submit(self, asked: Sequence[Asked]) -> list[str]:
        jobs = [f"{self._num + n}" for n in range(len(asked))]
        self._num += len(asked)
        if self.name == "b1":
            self._client.rpush(QUEUE, *(json.dumps([j, a.said()]) for j, a in zip(jobs, asked, strict=True)))
        else:
            for job, each in zip(jobs, asked, strict=True):
                self._app.send_task("tests.bench.race.baselines.render", [job, each.said()], ignore_result=True)
        return jobs

    def wait(self, jobs: Sequence[str]) -> dict[str, float]:
        end_s, found = time.monotonic() + LONGEST_RACE_S, dict[str, float]()
        wanted = set(jobs)
        while not wanted <= found.keys():
            assert self._is_alive(), f"{self.name} has ended"
            assert time.monotonic() < end_s, f"{self.name} does not come to an end"
            time.sleep(LOOK_S)
            found = self._stored()
        return {job: found[job] for job in jobs}

    def are_stored(self, jobs: Sequence[str]) -> bool:
        return set(jobs) <= self._stored().keys()

    def pids(self) -> list[int]:
        return _with_children(self._process)

    def _stored(self) -> dict[str, float]:
        return {job: float(at) for job, at in (line.split() for line in self._client.lrange(DONE, 0, -1))}

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._server.stop()


class Sigmafarm:
    """The farm as it is started for use: a supervisor, its worker, the keeper in it."""

    #: What starts the supervisor.
    command = FarmHarness.command

    def __init__(self, place: Place, name: str = "sigmafarm", **settings: object):
        self.name, self._place = name, place
        folder = place.folder / name
        self._server = RedisServer(folder / "redis", has_aof=True, options=("--appendfsync", "everysec"))
        self._folder, self._settings = folder, settings

    def start(self) -> None:
        self._server.start()
        place = self._place
        models = self._folder / "models.toml"
        models.write_text(f'[models.{place.model_name}]\npath = "{place.model}"\n')
        self.harness = FarmHarness(
            self._folder,
            redis_url=self._server.url,
            objects_url="s3://race/farm",
            s3_endpoint_url=place.s3_url,
            models_file=models,
            num_threads=place.threads,
            **self._settings,
        )
        self.harness.command = self.command
        self.harness.environment |= {"OMP_NUM_THREADS": str(place.threads)}
        self.harness.start_worker()
        self.harness.wait_for_workers(1)
        self._farm = Farm(self.harness.config)

    def submit(self, asked: Sequence[Asked]) -> list[str]:
        batch = self._farm.submit([each.request() for each in asked], name=self.name)
        return [f"{batch.id}-{n:06}" for n in range(len(asked))]

    def wait(self, jobs: Sequence[str]) -> dict[str, float]:
        store, end_s = self.harness.store, time.monotonic() + LONGEST_RACE_S
        for batch in dict.fromkeys(job.rpartition("-")[0] for job in jobs):
            while not store.batch(batch).counts.is_done:
                assert time.monotonic() < end_s, self.harness.logs()
                time.sleep(LOOK_S)
        records = [store.job(job) for job in jobs]
        assert all(record.image_key for record in records), [r.error for r in records if r.error]
        return {record.id: record.finished_ms / 1000 for record in records}

    def are_stored(self, jobs: Sequence[str]) -> bool:
        batches = dict.fromkeys(job.rpartition("-")[0] for job in jobs)
        return all(self.harness.store.batch(batch).counts.is_done for batch in reversed(batches))

    def pids(self) -> list[int]:
        return [pid for each in self.harness.supervisors for pid in _with_children(each.process)]

    def close(self) -> None:
        self.harness.close()
        self._server.stop()


def _with_children(process: Any) -> list[int]:
    """Return the ids of a process and of all that it started, it first."""
    assert process is not None, "it is not started"
    return [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]


def make_buckets(place: Place) -> None:
    """Make the bucket of all contenders, and let this process and all that it starts write to it."""
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    from sigmafarm_common.config import Config

    make_bucket(Config(objects_url="s3://race/farm", s3_endpoint_url=place.s3_url, redis_url="redis://127.0.0.1:1/0"))
