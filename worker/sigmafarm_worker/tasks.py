"""The Celery side of a worker, pure glue: one task that hands its job id over, and the loop that receives messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from celery import Celery
from celery.worker import WorkController
from celery.worker import state as celery_state

from sigmafarm_common.celery_app import RENDER_TASK, queue_name


def register_render(app: Celery, render: Callable[[str], None]) -> None:
    """Make `render` the farm's one task."""
    app.task(render, name=RENDER_TASK)


def consume(app: Celery, *, models: Iterable[str], num_threads: int, worker_id: str) -> None:
    """Receive the wake-up calls of some models, num_threads at once, until `stop_consuming` is called.

    Blocks; belongs in the main thread. Installs no signal handlers and survives a Redis that goes and comes.
    """
    controller = WorkController(
        app=app,
        hostname=worker_id,
        pool_cls="threads",
        concurrency=num_threads,
        queues=[queue_name(m) for m in models],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    controller.start()


def stop_consuming() -> None:
    """Let `consume` take no more messages, wait for its threads, and return. Safe from any thread or signal handler."""
    celery_state.should_stop = 0
