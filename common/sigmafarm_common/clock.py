"""Time as an argument: the doors through which the farm's loops learn what time it is.

Times that are stored come from Redis TIME, inside the scripts. Durations in a process are monotonic seconds.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic seconds that can also wait, and the time of day."""

    def monotonic_s(self) -> float: ...

    def wall_s(self) -> float:
        """Return the seconds since 1970 by this machine's clock: for what people and other programs read."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until the event is set or the time is over; return whether it is set."""
        ...


class SystemClock:
    """The machine's own clocks. The one place that asks them."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)
