"""What every contender's job does: take its time, and say in a ledger that it began and that it was done. The ledger is
a server of its own that no fault meets."""

from __future__ import annotations

import asyncio
import os
import time

import redis

BROKER_URL = os.environ.get("QUEUES_BROKER", "redis://127.0.0.1:1/0")
#: Seconds that a job takes.
TASK_S = float(os.environ.get("QUEUES_TASK_S", "0.3"))
#: After how many seconds a job may be given to another worker, where a queue asks: well above what a job takes.
REDELIVER_S = 10
#: Jobs that a worker does at once.
CONCURRENCY = 8

_ledger = redis.Redis.from_url(os.environ.get("QUEUES_LEDGER", "redis://127.0.0.1:1/0"))


def work(number: int) -> None:
    """Do a job in a thread or a process of its own."""
    _ledger.hincrby("begun", str(number), 1)
    time.sleep(TASK_S)
    _note_done(number)


async def work_async(number: int) -> None:
    """Do a job in an event loop."""
    _ledger.hincrby("begun", str(number), 1)
    await asyncio.sleep(TASK_S)
    _note_done(number)


def _note_done(number: int) -> None:
    with _ledger.pipeline() as pipe:
        pipe.hincrby("done", str(number), 1)
        pipe.hset("at", str(number), str(time.time()))
        pipe.execute()
