"""A program that only receives: it notes each call in the list `taken`, and answers it once `go` holds something.

python -m tests.worker.service.clerk REDIS_URL SLOTS LOOKAHEAD [asleep]

`asleep`: its loop looks for room only when something wakes it, and not each second.
"""

from __future__ import annotations

import sys
from typing import Any

import redis
from kombu.asynchronous.hub import Hub

from sigmafarm_common.celery_app import make_app
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.config import Config
from sigmafarm_worker.service.tasks import Reception, register_render


def main(redis_url: str, slots: str, lookahead: str, *sleeps: str) -> None:
    if sleeps:
        let_it_sleep()
    client, app = redis.Redis.from_url(redis_url), make_app(Config(redis_url=redis_url))

    def render(job_id: str) -> None:
        client.rpush("taken", job_id)
        client.blpop(["go"])

    register_render(app, render)
    Reception(
        app, models=["m"], slots=int(slots), lookahead=int(lookahead), worker_id="clerk", clock=SystemClock()
    ).run()


def let_it_sleep() -> None:
    fire_timers = Hub.fire_timers

    def fire(hub: Hub, *said: Any, **named: Any) -> float:
        fire_timers(hub, *said, **named)
        return 3600.0

    Hub.fire_timers = fire  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    main(*sys.argv[1:])
