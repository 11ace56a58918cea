"""What every contender's job does: take its time, and say in a ledger that it began and that it was done. The ledger is
a server of its own that no fault meets."""

from __future__ import annotations

import asyncio
import os
import time

import redis

BROKER_URL = os.environ.get("QUEUES_BROKER", "redis://127.0.0.1:1/0")
#: Seconds that a job takes.
TASK_S = 1.0
#: After how many seconds a job may be given to another worker, where a queue asks: well above what a job takes.
REDELIVER_S = 10
#: Jobs that a worker does at once.
CONCURRENCY = 8
#: The ledger's hashes, by the job's number: how often it was begun and done, and when first.
BEGUN, BEGUN_AT, DONE, DONE_AT = "begun", "begun-at", "done", "done-at"

_ledger = redis.Redis.from_url(os.environ.get("QUEUES_LEDGER", "redis://127.0.0.1:1/0"))


def work(number: int) -> None:
    """Do a job in a thread or a process of its own."""
    note_begun(number)
    time.sleep(TASK_S)
    note_done(number)


async def work_async(number: int) -> None:
    """Do a job in an event loop."""
    note_begun(number)
    await asyncio.sleep(TASK_S)
    note_done(number)


def note_begun(number: int) -> None:
    """Say that a job was begun."""
    _note(number, BEGUN, BEGUN_AT)


def note_done(number: int) -> None:
    """Say that a job was done."""
    _note(number, DONE, DONE_AT)


def _note(number: int, times: str, at: str) -> None:
    with _ledger.pipeline() as pipe:
        pipe.hincrby(times, str(number), 1)
        pipe.hsetnx(at, str(number), str(time.time()))
        pipe.execute()
