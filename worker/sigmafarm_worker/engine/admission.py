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
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

#: What a row may cost more than where it is cheapest, for that number of rows to be enough: while few wait, and while
#: more do and what a row costs counts more than company. Latencies are lower by both than by either alone
#: (tests/bench/admission_policy.py).
TOLERANCE, TOLERANCE_IN_NEED = 0.1, 0.05
#: Pictures that wait and are still few.
FEW = 2
#: Passes over a number of rows, one after another, that say what one costs; and how many of them are looked at.
MIN_PASSES, MAX_PASSES = 3, 8
#: Passes of other lanes that may lie between two of a lane that are compared: eight turns, a second or some.
MAX_BETWEEN = 64
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
    """Passes of a lane over one number of rows, with none of it over another between them."""

    num_rows: int
    first_s: list[float]
    last_s: deque[float]


@dataclass(eq=False)
class _Lane:
    """What is known of a lane, and its last two runs."""

    #: By rows: comparisons, and the logarithm of a pass's seconds, up to what all have in common.
    known: dict[int, tuple[int, float]] = field(default_factory=dict)
    before: _Run | None = None
    run: _Run | None = None
    #: Which of all passes was this lane's last.
    noted_at: int = 0


class RowCosts(Generic[Key]):
    """What a pass costs by its number of rows, learned lane by lane from those that were made.

    A machine is faster at one time than at another, by more than rows differ. So only what came soon after one another
    is compared: the last passes over a number of rows with the first over the next; those of other lanes, which take
    their turns, may lie between, as few as a moment holds. What that says moves both towards it, as a game moves the
    ratings of two players.
    """

    def __init__(self) -> None:
        #: The lane noted last is the last.
        self._lanes: dict[Key, _Lane] = {}
        self._previous: Key | None = None
        self._num_passes = 0

    def note(self, key: Key, num_rows: int, seconds: float, *, is_new: bool = False) -> None:
        """Count a pass. One says nothing whose rows are laid out anew (`is_new`), or which follows one of another lane
        or number of rows: the layout takes time, and where the host is one pass ahead of the device, it waits for the
        pass before, or, after a picture was handed over, for nothing."""
        self._num_passes += 1
        is_turn = key != self._previous
        lane = self._turn_to(key) if is_turn else self._lanes[key]
        if self._num_passes - lane.noted_at > MAX_BETWEEN + 1:
            lane.before = lane.run = None
        lane.noted_at = self._num_passes
        if lane.run is None or lane.run.num_rows != num_rows:
            lane.before = lane.run if lane.run and len(lane.run.first_s) >= MIN_PASSES else None
            lane.run = _Run(num_rows, [], deque(maxlen=MAX_PASSES))
            return
        if is_turn or is_new or seconds <= 0:
            return
        lane.run.last_s.append(seconds)
        if len(lane.run.first_s) < MAX_PASSES:
            lane.run.first_s.append(seconds)
            if lane.before and len(lane.run.first_s) in (MIN_PASSES, MAX_PASSES):
                _compare(lane.known, lane.before, lane.run)

    def _turn_to(self, key: Key) -> _Lane:
        lane = self._lanes[key] = self._lanes.pop(key, None) or _Lane()
        if len(self._lanes) > MAX_LANES:
            del self._lanes[next(iter(self._lanes))]
        self._previous = key
        return lane

    def num_compared(self, key: Key, num_rows: int) -> int:
        """Return how often passes over a number of rows were compared with others."""
        return self._known(key).get(num_rows, (0, 0.0))[0]

    def enough_rows(self, key: Key, num_waiting: int = 0) -> int | None:
        """Return the fewest rows of which each costs next to what it costs at best, while so many pictures wait; None
        until it was seen that twice as many bring nothing."""
        known = self._known(key)
        row_s = {rows: math.exp(log) / rows for rows, (count, log) in known.items() if count >= MIN_COMPARED}
        if not row_s:
            return None
        tolerance = TOLERANCE if num_waiting <= FEW else TOLERANCE_IN_NEED
        most_s, most_rows = min(row_s.values()) * (1 + tolerance), max(row_s)
        return min((rows for rows, each_s in row_s.items() if each_s <= most_s and 2 * rows <= most_rows), default=None)

    def _known(self, key: Key) -> Mapping[int, tuple[int, float]]:
        return self._lanes[key].known if key in self._lanes else {}


def _compare(known: dict[int, tuple[int, float]], before: _Run, run: _Run) -> None:
    """Move what is known by what two runs say."""
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
