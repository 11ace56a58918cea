"""Time as an argument: the doors through which the farm's loops learn what time it is.

Times that are stored come from Redis TIME, inside the scripts. Durations in a process are monotonic seconds.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic seconds that can also wait."""

    def monotonic_s(self) -> float: ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until the event is set or the time is over; return whether it is set."""
        ...


class SystemClock:
    """The machine's own monotonic clock."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)
