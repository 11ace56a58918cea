"""Celery's consumer, which tells a refusal from an outage.

An outage is waited out for ever. A log-in or a right that is refused before the first look into the queue was answered
will not be granted by waiting: it ends the worker. Later, the worker says it at every try and goes on trying:
somebody is changing its password, and what it has drawn may yet be delivered.
"""

from __future__ import annotations

import threading
from typing import Any

import structlog
from celery.exceptions import WorkerShutdown
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.errors import AccessDenied, SigmafarmError
from sigmafarm_common.store.redis.redis_errors import is_refusal, translated

#: Pauses between two tries to log in again, in seconds: the first, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
#: Between two looks whether the worker is to end meanwhile.
LOOK_S = 0.2

_log = structlog.get_logger("sigmafarm.worker")


class FarmConsumer(Consumer):
    """Receives wake-up calls."""

    #: Whether a look into the queue was ever answered.
    was_served = False
    clock: Clock = SystemClock()

    def on_ready(self) -> None:
        """Begin to receive over a new connection, or not, as the worker was told meanwhile."""
        super().on_ready()
        controller: Any = self.controller
        controller.settle()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect. A first connection that is refused ends the worker; a later one tries until it is let in."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return super().ensure_connected(conn)
            except AccessDenied as error:
                self._judge(error)
            self._wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Judge what kept us from a connection, then let Celery try again."""
        if is_refusal(exc):
            self._judge(translated(exc))
        super().on_connection_error_before_connected(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Judge what ended a connection, then let Celery make another."""
        transport: Any = self.connection.transport if self.connection else None
        self.was_served = self.was_served or bool(getattr(transport, "has_read", False))
        if is_refusal(exc):
            self._judge(translated(exc))
        super().on_connection_error_after_connected(exc)

    def _judge(self, error: SigmafarmError) -> None:
        if not self.was_served:
            raise WorkerShutdown(error.exit_code) from error  # whoever runs us hears the cause
        _log.error("worker is refused, it tries again", error=str(error))

    def _wait(self, pause_s: float) -> None:
        end_s = self.clock.monotonic_s() + pause_s
        while (left_s := end_s - self.clock.monotonic_s()) > 0:
            maybe_shutdown()
            self.clock.wait(threading.Event(), min(left_s, LOOK_S))
