"""Plain Celery as a user would write it: one task that takes its time and says that it was done. For kill_bench.py."""

from __future__ import annotations

import os
import time

import redis
from celery import Celery

BROKER_URL = os.environ.get("PLAIN_CELERY_BROKER", "redis://127.0.0.1:1/0")
#: Seconds that a task takes.
TASK_S = float(os.environ.get("PLAIN_CELERY_TASK_S", "0.3"))

app = Celery("plain", broker=BROKER_URL)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, worker_enable_remote_control=False)
if os.environ.get("PLAIN_CELERY_LATE") == "1":
    # What is recommended against lost tasks: acknowledge late, and redeliver after a short time.
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={"visibility_timeout": 10},
    )


@app.task
def render(number: int) -> None:
    """Work for a while, then count the job as done."""
    time.sleep(TASK_S)
    redis.Redis.from_url(BROKER_URL).hincrby("done", str(number), 1)
