"""The line from a worker process to its supervisor: a byte a second as long as the engine lives.

The supervisor ends a process whose line is silent. A broken line means that the supervisor is gone: the worker drains.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from sigmafarm_common.clock import Clock
from sigmafarm_common.loop import Loop

#: Seconds between two bytes.
PULSE_S = 1.0
#: What is written while models load and the engine warms up, and once it is ready.
STARTING, READY = b"s", b"."
#: Silence after which a process that has not been ready yet is ended: a large checkpoint on a slow disk takes minutes.
START_LIMIT_S = 900.0
#: Silence beyond stall_s after which a ready process is ended.
READY_MARGIN_S = 5.0


class Pulse(Loop):
    """The worker's end."""

    def __init__(self, fd: int, is_alive: Callable[[], bool], on_orphaned: Callable[[], None]):
        super().__init__("pulse", PULSE_S)
        self._fd, self._is_alive, self._on_orphaned = fd, is_alive, on_orphaned
        self.is_ready = False

    def run_once(self) -> None:
        """Write a byte, unless the engine stands still."""
        if not self.is_ready or self._is_alive():
            try:
                os.write(self._fd, READY if self.is_ready else STARTING)
            except BlockingIOError:
                pass  # the supervisor is frozen and the pipe is full: it has enough bytes to read
            except OSError:
                self._on_orphaned()


class Listener:
    """The supervisor's end of one worker's line."""

    def __init__(self, clock: Clock, *, stall_s: float) -> None:
        self._clock = clock
        self._fd, self.child_fd = os.pipe()
        os.set_blocking(self._fd, False)
        os.set_blocking(self.child_fd, False)
        os.set_inheritable(self.child_fd, True)
        self._limit_s = stall_s + READY_MARGIN_S
        self._heard_s = self._clock.monotonic_s()
        self.is_ready = False

    def close_child_end(self) -> None:
        """Close our copy of the child's end once it has been started, so that its death closes the line."""
        os.close(self.child_fd)

    def is_silent(self) -> bool:
        """Read what there is, and return whether the line has been silent for too long."""
        with contextlib.suppress(BlockingIOError):
            if data := os.read(self._fd, 4096):
                self._heard_s = self._clock.monotonic_s()
                self.is_ready = self.is_ready or READY in data
        return self._clock.monotonic_s() - self._heard_s > (self._limit_s if self.is_ready else START_LIMIT_S)

    def close(self) -> None:
        os.close(self._fd)
