"""taskiq with taskiq-redis: a stream with a consumer group, acknowledged once the job is done."""

from __future__ import annotations

from taskiq_redis import RedisStreamBroker

from tests.bench.queues.apps.work import BROKER_URL, REDELIVER_S, work_async

broker = RedisStreamBroker(
    url=BROKER_URL, idle_timeout=1000 * REDELIVER_S, unacknowledged_lock_timeout=REDELIVER_S, xread_count=1
)


@broker.task
async def render(number: int) -> None:
    await work_async(number)


async def submit(num: int) -> None:
    await broker.startup()
    for n in range(num):
        await render.kiq(n)
    await broker.shutdown()
