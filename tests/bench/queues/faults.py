"""What goes wrong, when, and to whom: the same for every contender, from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A fault."""

    KILL_WORKER = "kill -9 of the process that works"
    KILL_MACHINE = "kill -9 of a worker with all its processes"
    END_WORKER = "a worker told to end (SIGTERM)"
    FREEZE_WORKER = "the process that works frozen for 15 s"
    CUT_OFF = "a worker cut off from the broker for 12 s"
    KILL_BROKER = "kill -9 of the broker"
    FREEZE_BROKER = "the broker frozen for 5 s"


#: Seconds that each lasts before it is mended: until a worker or broker is started again, or goes on.
LASTS_S = {
    Kind.KILL_WORKER: 0.0,
    Kind.KILL_MACHINE: 0.0,
    Kind.END_WORKER: 0.0,
    Kind.FREEZE_WORKER: 15.0,
    Kind.CUT_OFF: 12.0,
    Kind.KILL_BROKER: 1.0,
    Kind.FREEZE_BROKER: 5.0,
}
#: How often each happens.
TIMES = {
    Kind.KILL_WORKER: 4,
    Kind.KILL_MACHINE: 4,
    Kind.END_WORKER: 2,
    Kind.FREEZE_WORKER: 1,
    Kind.CUT_OFF: 1,
    Kind.KILL_BROKER: 2,
    Kind.FREEZE_BROKER: 1,
}
#: Seconds from the mending of one to the next, at least and at most.
PAUSES_S = (0.8, 2.0)


@dataclass(frozen=True)
class Fault:
    """One of them; it befalls the worker of this number, where it befalls a worker."""

    after_s: float
    kind: Kind
    victim: int


def drawn(seed: int, num_workers: int) -> list[Fault]:
    """Return all faults in an order of the seed's own."""
    chance = random.Random(seed)
    kinds = [kind for kind, num in TIMES.items() for _ in range(num)]
    chance.shuffle(kinds)
    return [Fault(chance.uniform(*PAUSES_S), kind, chance.randrange(num_workers)) for kind in kinds]
