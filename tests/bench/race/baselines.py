"""The two programs that the farm races against, each a worker that reads jobs from Redis and stores PNGs in a bucket.

    b0   what the reference programs do, behind Celery: a task is one call of diffusers' pipeline, PNG and upload inline
    b1   the best static batching: up to 16 pictures of one size, number of steps, guidance and sampler a call, the kind
         whose oldest job waits longest first; PNG and upload in threads beside the next call

    python -m celery -A tests.bench.race.baselines worker ...       b0
    python -m tests.bench.race.baselines                            b1

The environment says the rest: see `environment` of contenders.py. Each stored picture is one line in the list `done`:
its job and the seconds since 1970.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import redis
import torch
from celery import Celery
from celery.signals import worker_ready

from tests.bench.race.loads import Asked
from tests.bench.race.queueing import Waiting
from tests.bench.race.static import Bucket, Static, png

#: Threads of b1 that encode and upload.
NUM_UPLOADERS = 8
READY, DONE, QUEUE = "ready", "done", "queue"
#: Seconds that b1 waits in one call for the next job.
WAIT_S = 1
#: Jobs that b1 reads at once.
MOST_READ = 10_000

app = Celery("b0", broker=os.environ.get("RACE_REDIS_URL", "redis://127.0.0.1:1/0"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, worker_enable_remote_control=False)


@cache
def server() -> redis.Redis:
    return redis.Redis.from_url(os.environ["RACE_REDIS_URL"], decode_responses=True)


@cache
def bucket() -> Bucket:
    return Bucket()


@cache
def pipeline() -> Static:
    torch.set_num_threads(int(os.environ["RACE_THREADS"]))
    return Static(
        Path(os.environ["RACE_MODEL"]), os.environ["RACE_DEVICE"], is_compiled=bool(os.environ.get("RACE_COMPILE"))
    )


def store(job: str, picture: Any) -> None:
    """Encode and upload a picture, and say that it is done."""
    bucket().put(f"{job}.png", png(picture))
    server().rpush(DONE, f"{job} {time.time()}")


@app.task
def render(job: str, said: dict[str, Any]) -> None:
    """Draw, encode, upload: one after the other."""
    (picture,) = pipeline().draw([Asked.parse(said)])
    store(job, picture)


@worker_ready.connect
def say_ready(**_: Any) -> None:
    pipeline()
    server().rpush(READY, "b0")


def main() -> None:
    """Draw until the process is ended."""
    waiting, uploaders = Waiting(), ThreadPoolExecutor(NUM_UPLOADERS)
    pipeline()
    server().rpush(READY, "b1")
    while True:
        for line in server().lpop(QUEUE, MOST_READ) or []:
            waiting.add(line)
        batch = waiting.next_batch()
        if not batch:
            if found := server().blpop([QUEUE], timeout=WAIT_S):
                waiting.add(found[1])
            continue
        pictures = pipeline().draw([asked for _, asked in batch])
        for (job, _), picture in zip(batch, pictures, strict=True):
            uploaders.submit(store, job, picture)


if __name__ == "__main__":
    main()
