"""The policy of continuous batching: which lane steps next, and who joins it. Pure Python, no tensors, no clock.

Fairness: lanes take turns of QUANTUM steps, in the order in which they were last served; so a lane with work waits for
at most (lanes - 1) x QUANTUM steps, and every job moves on at the same pace, whatever company it has. Within a lane,
jobs join in the order of their arrival as soon as a slot is free, unless admission.py has them wait for less company; a
lane that waits for its turn fills up meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

#: Steps that a lane keeps the device while others wait. Long enough that arrivals gather, short against a picture.
QUANTUM = 8

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Batching(Generic[Key, Item]):
    """Who waits for which lane, who is in it, and whose turn it is.

    `capacity` says how many slots a lane has. Items are compared by equality: use ones that equal only themselves.
    """

    def __init__(self, capacity: Callable[[Key], int], quantum: int = QUANTUM):
        self._capacity, self._quantum = capacity, quantum
        self._waiting: dict[Key, deque[Item]] = {}
        self._inside: dict[Key, list[Item]] = {}
        #: Lanes with work; the first has the turn.
        self._turns: deque[Key] = deque()
        self._left = quantum

    def add(self, key: Key, item: Item) -> None:
        """Let an item wait for its lane."""
        if key not in self._waiting:
            self._waiting[key], self._inside[key] = deque(), []
            self._turns.append(key)
        self._waiting[key].append(item)

    def next_lane(self) -> Key | None:
        """Return the lane to step now, or None when nobody waits and no slot is occupied. Counts as one step of it."""
        if not self._turns:
            return None
        if self._left == 0:
            self._turns.rotate(-1)
            self._left = self._quantum
        self._left -= 1
        return self._turns[0]

    def admit(self, key: Key, choose: Callable[[Sequence[Item]], Sequence[int]] | None = None) -> list[Item]:
        """Move waiting items into the free slots of a lane; return those who joined. `choose` says the places of those
        who wait and are to join, in their order; without it, first come is first served."""
        waiting, inside = self._waiting[key], self._inside[key]
        num_free = max(0, self._capacity(key) - len(inside))
        if not waiting or not num_free:
            return []
        places = range(len(waiting)) if choose is None else choose(tuple(waiting))
        joining = [waiting[place] for place in places[:num_free]]
        for item in joining:
            waiting.remove(item)
        inside.extend(joining)
        return joining

    def remove(self, key: Key, items: Iterable[Item]) -> None:
        """Forget items, waiting or inside, whichever of them are known; a lane without any is no lane any more."""
        if key not in self._waiting:
            return
        for item in items:
            for place in (self._inside[key], self._waiting[key]):
                if item in place:
                    place.remove(item)
        if not self._waiting[key] and not self._inside[key]:
            self._end_lane(key)

    def clear(self) -> list[Item]:
        """Forget everybody, and return them."""
        everybody = self.items()
        self._waiting, self._inside, self._turns, self._left = {}, {}, deque(), self._quantum
        return everybody

    def inside(self, key: Key) -> list[Item]:
        """Return who is in a lane."""
        return list(self._inside.get(key, ()))

    def waiting(self, key: Key) -> list[Item]:
        """Return who waits for a lane, the first first."""
        return list(self._waiting.get(key, ()))

    def _end_lane(self, key: Key) -> None:
        if self._turns[0] == key:
            self._left = self._quantum
        self._turns.remove(key)
        del self._waiting[key], self._inside[key]

    @property
    def num_waiting(self) -> int:
        # Copied in one stroke: other threads ask for it, too.
        return sum(len(w) for w in list(self._waiting.values()))

    @property
    def num_inside(self) -> int:
        return sum(len(i) for i in list(self._inside.values()))

    @property
    def lanes(self) -> tuple[Key, ...]:
        """The lanes with work, the one whose turn it is first."""
        return tuple(self._turns)

    def items(self) -> list[Item]:
        """Return everybody, those inside before those waiting."""
        return [item for lanes in (self._inside, self._waiting) for items in lanes.values() for item in items]
