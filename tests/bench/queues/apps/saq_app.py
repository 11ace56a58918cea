"""saq: a job has a time limit and retries; a sweep gives out again what has run out of it."""

from __future__ import annotations

from typing import Any

from saq import Queue

from tests.bench.queues.apps.work import BROKER_URL, CONCURRENCY, REDELIVER_S, work_async

queue = Queue.from_url(BROKER_URL)


async def render(_context: dict[str, Any], *, number: int) -> None:
    await work_async(number)


settings = {
    "queue": queue,
    "functions": [render],
    "concurrency": CONCURRENCY,
    "timers": {"schedule": 1, "worker_info": 10, "sweep": 5, "abort": 1},
}


async def submit(num: int) -> None:
    await queue.connect()
    for n in range(num):
        await queue.enqueue("render", number=n, timeout=REDELIVER_S, retries=20, ttl=1)
    await queue.disconnect()
