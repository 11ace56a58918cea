"""dramatiq on Redis: late acknowledgement is its default; messages of a worker without a heartbeat go to others."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.queues.apps.work import BROKER_URL, REDELIVER_S, work

# By default one call in a thousand looks for workers without a heartbeat: with jobs of a second that is minutes.
dramatiq.set_broker(RedisBroker(url=BROKER_URL, heartbeat_timeout=1000 * REDELIVER_S, maintenance_chance=50_000))


@dramatiq.actor(max_retries=20, min_backoff=200, max_backoff=2000)
def render(number: int) -> None:
    work(number)


def submit(num: int) -> None:
    for n in range(num):
        render.send(n)
