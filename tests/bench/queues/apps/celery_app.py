"""Celery on Redis: with its defaults, or with what its documentation recommends against lost tasks (QUEUES_LATE=1)."""

from __future__ import annotations

import os

from celery import Celery

from tests.bench.queues.apps.work import BROKER_URL, REDELIVER_S, work

app = Celery("queues", broker=BROKER_URL)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, worker_enable_remote_control=False)
if os.environ.get("QUEUES_LATE") == "1":
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={"visibility_timeout": REDELIVER_S},
    )


@app.task
def render(number: int) -> None:
    work(number)


def submit(num: int) -> None:
    for n in range(num):
        render.delay(n)
