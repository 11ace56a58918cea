"""The Celery side of a worker, pure glue: one task that hands its job id over, and the loop that receives messages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from celery import Celery
from celery.concurrency.base import apply_target
from celery.concurrency.thread import ApplyResult, TaskPool
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController
from celery.worker import state as celery_state
from kombu.asynchronous import get_event_loop

from sigmafarm_common.celery_app import RENDER_TASK, queue_name
from sigmafarm_common.clock import Clock
from sigmafarm_worker.service.consumer import FarmConsumer
from sigmafarm_worker.service.room import Room


def register_render(app: Celery, render: Callable[[str], None]) -> None:
    """Make `render` the farm's one task."""
    app.task(render, name=RENDER_TASK)


class Reception:
    """Receives the wake-up calls of some models: as many at once as there are slots, and some ahead (see Room).

    Installs no signal handlers and survives a Redis that goes and comes.
    """

    def __init__(self, app: Celery, *, models: Iterable[str], slots: int, lookahead: int, worker_id: str, clock: Clock):
        self._controller = _Controller(
            room=Room(slots, lookahead, clock=clock, look_again=_look_again_in),
            app=app,
            consumer_cls=FarmConsumer,
            hostname=worker_id,
            pool_cls=_Threads,
            concurrency=slots + lookahead,
            queues=[queue_name(m) for m in models],
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
        """Leave calls to other workers, at the latest a second from now; over lost connections too, and from the start
        if it is said before `run`."""
        self._say(takes_calls=False)

    def resume(self) -> None:
        """Take calls again."""
        self._say(takes_calls=True)

    def _say(self, *, takes_calls: bool) -> None:
        self._controller.takes_calls = takes_calls
        consumer = getattr(self._controller, "consumer", None)
        if consumer is not None:  # else it does as was said when it starts
            consumer.call_soon(self._controller.settle)


def _look_again() -> None:
    """Wake the consumer's loop: in each turn it asks first whether another call may be taken."""


def _look_again_in(pause_s: float) -> None:
    """Wake the consumer's loop after a pause. For its own thread, whose timers they are."""
    if loop := get_event_loop():
        loop.call_later(pause_s, _look_again)


class _Threads(TaskPool):
    """Celery's threads, which wake the consumer when they have answered a call. It would see that there is room for the
    next one by chance, up to a second later."""

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> ApplyResult:
        return ApplyResult(self.executor.submit(_answer, target, args, kwargs, callback, accept_callback))


def _answer(*call: Any) -> None:
    try:
        apply_target(*call)
    finally:
        if loop := get_event_loop():
            loop.call_soon(_look_again)


class _Controller(WorkController):
    """Celery's worker. It remembers the error that ended it, which Celery itself only logs, and takes as many calls as
    it has room for, or none."""

    failure: BaseException | None = None
    #: What was said last. Any thread says it; `settle` does it.
    takes_calls = True

    def __init__(self, *, room: Room, queues: Sequence[str], **options: Any):
        self._room, self._queues = room, queues
        super().__init__(queues=queues, **options)

    def settle(self) -> None:
        """Consume from all queues or from none, as was said last. For the consumer's own thread: connections are not
        shared. What a thread asks Celery to do soon is done in no order (kombu keeps it in a set), so that two orders
        may change places; here each does what is right now."""
        consumer: Any = getattr(self, "consumer", None)
        if consumer is None or consumer.task_consumer is None:
            return  # before the first connection, or between two: the next one settles it
        selected = consumer.app.amqp.queues.consume_from
        do = consumer.add_task_queue if self.takes_calls else consumer.cancel_task_queue
        for queue in self._queues:
            if (queue in selected) is not self.takes_calls:
                do(queue)

    @property
    def max_concurrency(self) -> int:
        """What Celery asks for before it takes a call: how many may be held."""
        return self._room.bound(len(celery_state.reserved_requests))

    @max_concurrency.setter
    def max_concurrency(self, most: object) -> None:
        """Celery's autoscaler would say it; there is none."""

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        error = sys.exception()
        self.failure = error.__cause__ if isinstance(error, WorkerShutdown) else error
        super().stop(in_sighandler=in_sighandler, exitcode=exitcode)
