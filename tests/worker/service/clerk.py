"""A program that only receives: it notes each call in the list `taken`, and answers it once `go` holds something.

python -m tests.worker.service.clerk REDIS_URL SLOTS LOOKAHEAD [asleep] [paused]

`asleep`: its loop looks for room only when something wakes it, and not each second. `paused`: it is told to take no
calls before it runs. What the list `say` holds is said to it: pause, resume, many times in a row if so many words are
one entry.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen
from typing import Any

import redis
from kombu.asynchronous.hub import Hub

from sigmafarm_common.celery_app import make_app, publisher
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.store.values import Dispatched
from sigmafarm_worker.service.tasks import Reception, register_render


@contextmanager
def clerk(redis_url: str, *said: str) -> Iterator[None]:
    """Run one for as long as the block lasts."""
    process = Popen([sys.executable, "-m", "tests.worker.service.clerk", redis_url, *said])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def call(redis_url: str, num: int) -> None:
    """Publish so many wake-up calls."""
    publisher(make_app(Config(redis_url=redis_url)))([Dispatched(f"job-{n}", "m") for n in range(num)])


def main(redis_url: str, slots: str, lookahead: str, *how: str) -> None:
    if "asleep" in how:
        let_it_sleep()
    client, app = redis.Redis.from_url(redis_url), make_app(Config(redis_url=redis_url))

    def render(job_id: str) -> None:
        client.rpush("taken", job_id)
        client.blpop(["go"])

    register_render(app, render)
    reception = Reception(
        app, models=["m"], slots=int(slots), lookahead=int(lookahead), worker_id="clerk", clock=SystemClock()
    )
    if "paused" in how:
        reception.pause()

    def listen() -> None:
        other = redis.Redis.from_url(redis_url, decode_responses=True)
        while True:
            _, words = other.blpop(["say"])
            for word in words.split():
                (reception.pause if word == "pause" else reception.resume)()
            other.rpush("said", words)

    threading.Thread(target=listen, daemon=True).start()
    reception.run()


def let_it_sleep() -> None:
    fire_timers = Hub.fire_timers

    def fire(hub: Hub, *said: Any, **named: Any) -> float:
        fire_timers(hub, *said, **named)
        return 3600.0

    Hub.fire_timers = fire  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    main(*sys.argv[1:])
