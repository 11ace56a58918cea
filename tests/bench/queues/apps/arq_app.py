"""arq: a job is taken out of the queue when it has ended; one whose worker died is begun again when its mark runs out,
which is its time limit and ten seconds more."""

from __future__ import annotations

from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from tests.bench.queues.apps.work import BROKER_URL, CONCURRENCY, work_async

SETTINGS = RedisSettings.from_dsn(BROKER_URL)
SETTINGS.conn_retries = 100


async def render(_context: dict[str, Any], number: int) -> None:
    await work_async(number)


class WorkerSettings:
    functions = [render]  # noqa: RUF012 - as arq's own documentation writes it
    redis_settings = SETTINGS
    max_jobs = CONCURRENCY
    job_timeout = 5
    max_tries = 20
    keep_result = 0


async def submit(num: int) -> None:
    pool = await create_pool(SETTINGS)
    for n in range(num):
        await pool.enqueue_job("render", n)
