"""The Celery side of a worker, pure glue: one task that hands its job id over, and the loop that receives messages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from celery import Celery
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController
from celery.worker import state as celery_state

from sigmafarm_common.celery_app import RENDER_TASK, queue_name
from sigmafarm_worker.service.consumer import FarmConsumer


def register_render(app: Celery, render: Callable[[str], None]) -> None:
    """Make `render` the farm's one task."""
    app.task(render, name=RENDER_TASK)


class Reception:
    """Receives the wake-up calls of some models, num_threads at once.

    Installs no signal handlers and survives a Redis that goes and comes.
    """

    def __init__(self, app: Celery, *, models: Iterable[str], num_threads: int, worker_id: str):
        self._queues = [queue_name(m) for m in models]
        self._controller = _Controller(
            app=app,
            consumer_cls=FarmConsumer,
            hostname=worker_id,
            pool_cls="threads",
            concurrency=num_threads,
            queues=self._queues,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )

    def run(self) -> None:
        """Receive until `stop` is called. Blocks; belongs in the main thread. Raises what keeps it from receiving:
        AccessDenied where Redis lets it not in."""
        self._controller.start()
        if self._controller.failure is not None:
            raise self._controller.failure

    @staticmethod
    def stop() -> None:
        """Let `run` take no more messages, wait for its threads, and return. Safe from any thread or signal handler;
        said before `run`, it ends that at once."""
        celery_state.should_stop = 0

    def pause(self) -> None:
        """Leave calls to other workers, at the latest a second from now; over lost connections too."""
        self._run_soon("cancel_task_queue")

    def resume(self) -> None:
        """Take calls again."""
        self._run_soon("add_task_queue")

    def _run_soon(self, method: str) -> None:
        """Have the consumer's own thread do it: connections are not shared between threads."""
        consumer: Any = getattr(self._controller, "consumer", None)  # made when the controller starts
        for queue in self._queues if consumer else ():
            consumer.call_soon(getattr(consumer, method), queue)


class _Controller(WorkController):
    """Celery's worker, which remembers the error that ended it; Celery itself only logs that."""

    failure: BaseException | None = None

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        error = sys.exception()
        self.failure = error.__cause__ if isinstance(error, WorkerShutdown) else error
        super().stop(in_sighandler=in_sighandler, exitcode=exitcode)
