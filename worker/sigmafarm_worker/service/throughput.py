"""How fast a count grows: over the last minute or so, without remembering each event."""

from __future__ import annotations

from collections import deque

#: How far back the rate looks.
WINDOW_S = 60.0


class Rate:
    """Told a count now and then, it says how many a second came in the window."""

    def __init__(self) -> None:
        self._told: deque[tuple[float, int]] = deque()

    def per_s(self, count: int, now_s: float) -> float:
        """Note the count of now and return the growth a second since the oldest note of the window."""
        while len(self._told) > 1 and self._told[1][0] <= now_s - WINDOW_S:
            self._told.popleft()
        self._told.append((now_s, count))
        began_s, before = self._told[0]
        return (count - before) / (now_s - began_s) if now_s > began_s else 0.0
