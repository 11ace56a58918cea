"""Who is served next: priority, then fair sharing between owners and their batches.

Start-time fair queueing, as in store/lua/_prelude.lua: whoever has the smallest virtual time is served and pays its
job's cost. An owner that comes back keeps what it had paid, so that a trickle of small batches gains nothing over one
big one. Equal times go by name. A batch is in the queue as long as jobs of it wait and it is not paused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Turn:
    """Whose turn it is."""

    priority: int
    owner: str
    batch_id: str


@dataclass
class _Level:
    """The owners of one priority and their batches, with the virtual time that each has reached."""

    owners: dict[str, float] = field(default_factory=dict[str, float])
    batches: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    #: The time of every owner when it last left, and of the last one that did.
    paid: dict[str, float] = field(default_factory=dict[str, float])
    clock: float = 0.0
    #: When it last left.
    left_ms: int = 0

    def join(self, owner: str, batch_id: str) -> None:
        if owner not in self.owners:
            floor = min(self.owners.values(), default=self.clock)
            self.owners[owner] = max(floor, self.paid.get(owner, 0.0))
        mine = self.batches.setdefault(owner, {})
        mine.setdefault(batch_id, min(mine.values(), default=0.0))

    def leave(self, owner: str, batch_id: str, now_ms: int) -> None:
        mine = self.batches.get(owner, {})
        mine.pop(batch_id, None)
        if not mine and owner in self.owners:
            self.clock = self.paid[owner] = self.owners.pop(owner)
            self.left_ms = now_ms


class FairQueue:
    """The queue of one model."""

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}

    def join(self, turn: Turn) -> None:
        """Put a batch of an owner in, or leave it where it is."""
        self._levels.setdefault(turn.priority, _Level()).join(turn.owner, turn.batch_id)

    def leave(self, turn: Turn, now_ms: int) -> None:
        """Take a batch out, if it is in."""
        if turn.priority in self._levels:
            self._levels[turn.priority].leave(turn.owner, turn.batch_id, now_ms)

    def next(self) -> Turn | None:
        """Return whose turn it is, or None if nobody waits."""
        priority = max((p for p, level in self._levels.items() if level.owners), default=None)
        if priority is None:
            return None
        level = self._levels[priority]
        owner = _first(level.owners)
        return Turn(priority, owner, _first(level.batches[owner]))

    def pay(self, turn: Turn, cost: float) -> None:
        """Charge an owner and its batch for a job."""
        level = self._levels[turn.priority]
        level.owners[turn.owner] += cost
        level.batches[turn.owner][turn.batch_id] += cost

    def forget_levels(self, until_ms: int) -> None:
        """Forget who paid what in levels that everybody had left by then."""
        self._levels = {p: level for p, level in self._levels.items() if level.owners or level.left_ms > until_ms}

    @property
    def is_blank(self) -> bool:
        """Whether nobody waits, and nobody is remembered."""
        return not self._levels

    def __iter__(self) -> Iterator[Turn]:
        for priority in sorted(self._levels, reverse=True):
            for owner, batches in self._levels[priority].batches.items():
                yield from (Turn(priority, owner, batch_id) for batch_id in batches)


def _first(times: Mapping[str, float]) -> str:
    return min(times, key=lambda name: (times[name], name))
