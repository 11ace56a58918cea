"""Who of those that wait for a lane joins it now. Pure Python, no tensors, no clock.

A pass over more rows costs less for each row, up to a point. Beyond it, one more picture makes all others later and
none sooner. So a lane learns from its own passes how many rows are enough, and takes no more, but for two cases:

- More wait than the lane has slots for: then every row that makes the whole faster counts, and all slots are filled.
- Whoever is short, beside somebody inside who has much left, joins at once: a quick picture does not wait behind slow
  ones. It delays those who wait before it, for at most as long as the slowest inside needs, and a third more.

Among the others, first come is first served. Which picture comes out does not depend on any of this.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

#: What a row may cost more than where it is cheapest, for that number of rows to be enough.
TOLERANCE = 0.05
#: Passes over a number of rows before it is known what one costs.
MIN_PASSES = 8
#: Weight of the newest pass in what is known, and what it counts at most, as a multiple of that: a capture or a busy
#: moment is no news of the device.
WEIGHT, MOST = 0.1, 2.0
#: A picture is short if it needs at most this share of the calls that somebody inside has left.
SHORT = 0.25
#: Lanes whose costs are remembered, those that were stepped last.
MAX_LANES = 64

Key = TypeVar("Key", bound=Hashable)


class Demand(NamedTuple):
    """What a picture asks of a lane."""

    #: Rows of a pass: 2 with guidance.
    num_rows: int
    #: Calls of the network that are left.
    num_calls: int


class RowCosts(Generic[Key]):
    """What a pass costs by its number of rows, learned lane by lane from those that were made."""

    def __init__(self) -> None:
        #: By lane and by rows: passes counted, smoothed seconds of one. The lane noted last is the last.
        self._known: dict[Key, dict[int, tuple[int, float]]] = {}
        self._previous: tuple[Key, int] | None = None

    def note(self, key: Key, num_rows: int, seconds: float, *, is_new: bool = False) -> None:
        """Count a pass. One says nothing whose rows are laid out anew (`is_new`), or which follows one of another lane
        or number of rows: the layout takes time, and where the host is one pass ahead of the device, it waits for the
        pass before, or, after a picture was handed over, for nothing."""
        is_first, self._previous = (key, num_rows) != self._previous, (key, num_rows)
        if is_new or is_first or seconds <= 0:
            return
        known = self._known.pop(key, {})
        count, known_s = known.get(num_rows, (0, seconds))
        known_s += (min(seconds, MOST * known_s) - known_s) * WEIGHT
        known[num_rows] = (count + 1, known_s)
        self._known[key] = known
        if len(self._known) > MAX_LANES:
            del self._known[next(iter(self._known))]

    def num_counted(self, key: Key, num_rows: int) -> int:
        """Return how many passes over a number of rows were counted."""
        return self._known.get(key, {}).get(num_rows, (0, 0.0))[0]

    def enough_rows(self, key: Key) -> int | None:
        """Return the fewest rows of which each costs next to what it costs at best; None until it was seen that twice
        as many bring nothing."""
        known = self._known.get(key, {})
        row_s = {rows: known_s / rows for rows, (count, known_s) in known.items() if count >= MIN_PASSES}
        if not row_s:
            return None
        most_s, most_rows = min(row_s.values()) * (1 + TOLERANCE), max(row_s)
        return min((rows for rows, each_s in row_s.items() if each_s <= most_s and 2 * rows <= most_rows), default=None)


def joining(
    inside: Sequence[Demand], waiting: Sequence[Demand], *, num_slots: int, enough_rows: int | None
) -> list[int]:
    """Return the places in `waiting` of those who join now. `num_slots` are all of the lane's."""
    num_free = max(0, num_slots - len(inside))
    if enough_rows is None or len(inside) + len(waiting) > num_slots:
        return list(range(min(num_free, len(waiting))))
    num_rows = sum(each.num_rows for each in inside)
    most_calls = max((each.num_calls for each in inside), default=0)
    found: list[int] = []
    is_held_back = False
    for place, each in enumerate(waiting):
        is_short = each.num_calls <= SHORT * most_calls
        is_held_back = is_held_back or num_rows >= enough_rows
        if is_held_back and not is_short:
            continue
        found.append(place)
        num_rows += each.num_rows
        most_calls = max(most_calls, each.num_calls)
    return found
