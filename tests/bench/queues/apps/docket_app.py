"""pydocket: a stream with a consumer group; what is pending for longer than the redelivery timeout goes to others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from docket import Docket, Worker

from tests.bench.queues.apps.work import BROKER_URL, CONCURRENCY, REDELIVER_S, work_async


async def render(number: int) -> None:
    await work_async(number)


async def submit(num: int) -> None:
    async with Docket(name="queues", url=BROKER_URL) as docket:
        for n in range(num):
            await docket.add(render)(n)


async def serve() -> None:
    async with Docket(name="queues", url=BROKER_URL) as docket:
        docket.register(render)
        timeout = timedelta(seconds=REDELIVER_S)
        async with Worker(docket, concurrency=CONCURRENCY, redelivery_timeout=timeout) as worker:
            await worker.run_forever()


if __name__ == "__main__":
    asyncio.run(serve())
