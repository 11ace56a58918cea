"""Who of those that wait for a lane joins it now. Pure Python, no tensors, no clock.

A pass over more rows costs less for each row, up to a point. Beyond it, one more picture makes all others later and
none sooner. So a lane learns from its own passes how many rows are enough, and takes no more, but for two cases:

- More wait than the lane has slots for: then every row that makes the whole faster counts, and all slots are filled.
- Whoever is short, beside somebody inside who has much left, joins at once: a quick picture does not wait behind slow
  ones. It delays those who wait before it, for at most as long as the slowest inside needs, and a third more.

Among the others, first come is first served. Which picture comes out does not depend on any of this.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

#: What a row may cost more than where it is cheapest, for that number of rows to be enough. Pictures that come at
#: random are ready sooner by this than by 0.05, the slowest most (tests/bench/lane_policy.py, three shapes of cost).
TOLERANCE = 0.1
#: Passes over a number of rows, one after another, that say what one costs; and how many of them are looked at.
MIN_PASSES, MAX_PASSES = 3, 8
#: Comparisons with other numbers of rows before it is known what one costs.
MIN_COMPARED = 2
#: Weight of the newest comparison in what is known, at least.
WEIGHT = 0.1
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


class _Run(NamedTuple):
    """Passes of a lane over one number of rows, with none of another between them."""

    num_rows: int
    first_s: list[float]
    last_s: deque[float]


class RowCosts(Generic[Key]):
    """What a pass costs by its number of rows, learned lane by lane from those that were made.

    A machine is faster at one time than at another, by more than rows differ. So only what came right after one another
    is compared: the last passes over a number of rows with the first over the next. What that says moves both towards
    it, as a game moves the ratings of two players.
    """

    def __init__(self) -> None:
        #: By lane and by rows: comparisons, and the logarithm of a pass's seconds, up to what all have in common. The
        #: lane noted last is the last.
        self._known: dict[Key, dict[int, tuple[int, float]]] = {}
        self._previous: Key | None = None
        #: The run before, and this one, of the lane noted last.
        self._before: _Run | None = None
        self._run: _Run | None = None

    def note(self, key: Key, num_rows: int, seconds: float, *, is_new: bool = False) -> None:
        """Count a pass. One says nothing whose rows are laid out anew (`is_new`), or which follows one of another lane
        or number of rows: the layout takes time, and where the host is one pass ahead of the device, it waits for the
        pass before, or, after a picture was handed over, for nothing."""
        if key != self._previous:
            self._previous, self._before, self._run = key, None, None
        if self._run is None or self._run.num_rows != num_rows:
            self._before = self._run if self._run and len(self._run.first_s) >= MIN_PASSES else None
            self._run = _Run(num_rows, [], deque(maxlen=MAX_PASSES))
            return
        if is_new or seconds <= 0:
            return
        self._run.last_s.append(seconds)
        if len(self._run.first_s) < MAX_PASSES:
            self._run.first_s.append(seconds)
            if self._before and len(self._run.first_s) in (MIN_PASSES, MAX_PASSES):
                self._compare(key, self._before, self._run)

    def _compare(self, key: Key, before: _Run, run: _Run) -> None:
        known = self._known[key] = self._known.pop(key, {})
        if len(self._known) > MAX_LANES:
            del self._known[next(iter(self._known))]
        seen = math.log(statistics.median(run.first_s) / statistics.median(before.last_s))
        if not known:
            known[before.num_rows] = (0, 0.0)
        # Of two of which one is new, it is where the other says; two new ones are tied to nothing.
        if before.num_rows in known:
            known.setdefault(run.num_rows, (0, known[before.num_rows][1] + seen))
        elif run.num_rows in known:
            known[before.num_rows] = (0, known[run.num_rows][1] - seen)
        else:
            return
        news = seen - (known[run.num_rows][1] - known[before.num_rows][1])
        for rows, towards in ((before.num_rows, -news), (run.num_rows, news)):
            count, log = known[rows]
            known[rows] = (count + 1, log + towards * max(WEIGHT, 0.5 / (count + 1)))

    def num_compared(self, key: Key, num_rows: int) -> int:
        """Return how often passes over a number of rows were compared with others."""
        return self._known.get(key, {}).get(num_rows, (0, 0.0))[0]

    def enough_rows(self, key: Key) -> int | None:
        """Return the fewest rows of which each costs next to what it costs at best; None until it was seen that twice
        as many bring nothing."""
        known = self._known.get(key, {})
        row_s = {rows: math.exp(log) / rows for rows, (count, log) in known.items() if count >= MIN_COMPARED}
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
