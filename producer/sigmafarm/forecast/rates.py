"""How fast the farm draws, and how far that can be trusted.

The pace counts in slots of PACE_S what left the queue. From one slot with anything in it to the next is an interval: a
time, and the work that ended in it; of the time only that in which a batch was open counts. Intervals are put together
to blocks of half a minute at least, so that pictures that end sixteen at once count as what they are. The blocks' work
by their time is the rate; how much they differ from it tells what the next minutes may bring.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from sigmafarm.forecast.busy import ALWAYS, Span, busy_s
from sigmafarm_common.store.values import PACE_S, Pace

#: Seconds back from the newest that are judged, and how many slots are judged at least, however old.
WINDOW_S, LEAST_SLOTS = 300, 7
#: Seconds of a block, and the most blocks that are made.
BLOCK_S, MAX_BLOCKS = 30.0, 10
#: A silence this many times as long as is usual, and so many seconds at least, is taken for a time without work.
SILENCE, LEAST_SILENCE_S = 5.0, 60.0
#: The shortest time that work is taken to have needed: less of it in an open batch tells nothing.
LEAST_TIME_S = 1.0
#: How far off the rate is taken to be at least, as a part of it.
LEAST_OFF = 0.12
#: The same where one block is all that is known, and from where on nobody can say how long work takes at most.
OFF_OF_ONE, TOO_FAR_OFF = 0.5, 0.75
#: Student's t of four ranges in five, by blocks, two and more.
_T = (3.08, 1.89, 1.64, 1.53, 1.48, 1.44, 1.41, 1.40, 1.38)


@dataclass(frozen=True)
class Rate:
    """Steps times megapixels a second. A rate without a block is a guess: one slot, and nobody knows when its work was
    begun."""

    per_s: float
    #: How much blocks differ from it, as a part of it, how many there were, and how many seconds each took.
    spread: float = 0.0
    num_blocks: int = 0
    block_s: float = BLOCK_S

    def seconds(self, cost: float) -> float:
        """Return how long work takes, most likely."""
        return cost / self.per_s

    def least_s(self, cost: float, in_flight: float) -> float:
        """Return how long work takes at least, of which so much is with workers: without a block, all of that may have
        ended in the slot that is known."""
        if not self.num_blocks:
            return cost / max(self.per_s, in_flight / PACE_S)
        return self.seconds(cost) / (1 + min(self._off(cost), 1.0))

    def most_s(self, cost: float) -> float | None:
        """Return how long work takes at most, None where nobody can say."""
        off = self._off(cost) if self.num_blocks else TOO_FAR_OFF
        return self.seconds(cost) / (1 - off) if off < TOO_FAR_OFF else None

    def _off(self, cost: float) -> float:
        """Return how far the rate may be off while so much work is done, as a part of it: what is known of it comes of
        so many blocks, and the work takes so many."""
        if self.num_blocks == 1:
            return OFF_OF_ONE
        num_more = max(1.0, self.seconds(cost) / self.block_s)
        t = _T[min(self.num_blocks, len(_T) + 1) - 2]
        return max(LEAST_OFF, t * self.spread * math.sqrt(1 / self.num_blocks + 1 / num_more))


def rate_of(pace: Sequence[Pace], now_ms: float, busy: Sequence[Span] = ALWAYS) -> Rate | None:
    """Return the rate of the last minutes in which anything left the queue; None where nothing did in the last hour.
    `busy` tells when there was work, if that is known."""
    whole = [each for each in pace if each.start_ms + PACE_S * 1000 <= now_ms and each.cost > 0]
    blocks = _blocks(_intervals(whole, busy))
    if not blocks:
        known = max((each.cost for each in whole), default=0.0)
        return Rate(known / PACE_S) if known else None
    time_s, cost = sum(time for time, _ in blocks), sum(work for _, work in blocks)
    block_s = time_s / len(blocks)
    off = sum((work - cost / time_s * time) ** 2 for time, work in blocks) / max(1, len(blocks) - 1)
    return Rate(cost / time_s, math.sqrt(off) / (cost / len(blocks)), len(blocks), block_s)


def _intervals(pace: Sequence[Pace], busy: Sequence[Span]) -> list[tuple[float, float]]:
    """Return seconds and work from each slot to the next, the recent ones; silences are left out."""
    pairs = [(_time_s(before, after, busy), after) for before, after in pairwise(pace)]
    usual_s = median(time_s for time_s, _ in pairs) if pairs else 0.0
    longest_s = max(LEAST_SILENCE_S, SILENCE * usual_s)
    since_ms = pace[-1].start_ms - WINDOW_S * 1000 if pace else 0
    recent = [pair for n, pair in enumerate(pairs) if pair[1].start_ms > since_ms or n >= len(pairs) - LEAST_SLOTS + 1]
    return [(time_s, each.cost) for time_s, each in recent if time_s <= longest_s]


def _time_s(before: Pace, after: Pace, busy: Sequence[Span]) -> float:
    """Return the seconds from the end of one slot to that of another in which there was work."""
    slot_ms = PACE_S * 1000
    time_s = busy_s(busy, before.start_ms + slot_ms, after.start_ms + slot_ms)
    return time_s if time_s >= LEAST_TIME_S else (after.start_ms - before.start_ms) / 1000


def _blocks(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return intervals put together; what is left at the beginning, where it is short, goes to the first."""
    intervals = list(intervals)
    block_s = max(BLOCK_S, sum(time for time, _ in intervals) / MAX_BLOCKS)
    blocks: list[tuple[float, float]] = []
    time_s, cost = 0.0, 0.0
    for time, work in reversed(intervals):
        time_s, cost = time_s + time, cost + work
        if time_s >= block_s:
            blocks.append((time_s, cost))
            time_s, cost = 0.0, 0.0
    if time_s and blocks:
        blocks[-1] = (blocks[-1][0] + time_s, blocks[-1][1] + cost)
    elif time_s:
        blocks.append((time_s, cost))
    return blocks
