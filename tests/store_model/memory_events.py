"""The memory store's event stream: numbered lines, the newest so many of them."""

from __future__ import annotations

from collections import deque
from threading import Condition

from sigmafarm_common.store.ids import EVENT_ID
from sigmafarm_common.store.protocol import Event
from sigmafarm_common.store.refusals import no_event_id

#: When, in ms, and which of that millisecond: what an event's id says.
Position = tuple[int, int]


class EventLog:
    """Events in order. `changed` is the store's lock: every method is called with it held."""

    def __init__(self, limit: int, changed: Condition):
        self._entries: deque[tuple[Position, Event]] = deque(maxlen=limit)
        self._last: Position = (0, 0)
        self._changed = changed

    def append(self, now_ms: int, kind: str, batch_id: str, job_id: str = "", **data: str) -> None:
        """Add one line and wake those who wait for it."""
        ms, number = self._last
        self._last = (now_ms, 0) if now_ms > ms else (ms, number + 1)
        event_id = f"{self._last[0]}-{self._last[1]}"
        self._entries.append((self._last, Event(event_id, kind, batch_id, job_id, data)))
        self._changed.notify_all()

    def read(self, after: str, limit: int, block_s: float) -> list[Event]:
        """Return the lines behind an id, waiting up to block_s for the first."""
        start = self._position(after)
        if self._last <= start and block_s > 0:
            self._changed.wait_for(lambda: self._last > start, timeout=block_s)
        return [event for position, event in self._entries if position > start][:limit]

    def last(self, limit: int) -> list[Event]:
        """Return the newest lines, newest first."""
        return [event for _, event in reversed(self._entries)][:limit]

    def _position(self, after: str) -> Position:
        if not EVENT_ID.fullmatch(after):
            raise no_event_id(after)
        if after == "$":
            return self._last
        ms, _, number = after.partition("-")
        return int(ms), int(number or 0)
