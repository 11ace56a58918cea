"""How many calls a worker takes: as many as it has slots for at once, and some ahead once its slots have been full for
a while. A call that it took ahead at once might be one that another worker has an empty slot for.
"""

from __future__ import annotations

from collections.abc import Callable

from sigmafarm_common.clock import Clock

#: For so long a worker's slots have been full before it takes calls ahead: others have taken what they have slots for.
FULL_S = 0.1
#: How much later it looks again: a timer may be early by its rounding.
LOOK_S = FULL_S + 0.005


class Room:
    """The bound on the calls that are held. Belongs to one thread, which asks whenever it may take another.

    look_again (seconds) is called once each time the slots have filled: it has that thread ask again so much later.
    """

    def __init__(self, slots: int, lookahead: int, *, clock: Clock, look_again: Callable[[float], object]):
        self.slots, self.lookahead = slots, lookahead
        self._clock, self._look_again = clock, look_again
        self._full_since_s: float | None = None

    def bound(self, num_held: int) -> int:
        """Return how many calls may be held now, by one that holds so many."""
        if num_held < self.slots or self.lookahead == 0:
            self._full_since_s = None
            return self.slots
        now_s = self._clock.monotonic_s()
        if self._full_since_s is None:
            self._full_since_s = now_s
            self._look_again(LOOK_S)
        return self.slots + (self.lookahead if now_s - self._full_since_s >= FULL_S else 0)
