"""What a seed draws: which faults and users a run has, how often, how hard. Each seed has a mix of its own, so that no
fault hides behind the others in all of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

#: How often each thing happens, before a seed makes its own of it. The names are those of methods of Faults and Users.
WEIGHTS: Mapping[str, float] = {
    "kill_worker": 6,
    "kill_supervisor": 2,
    "kill_api": 1,
    "freeze_worker": 3,
    "end_worker_in_order": 1,
    "arm_a_hook": 2,
    "restart_redis": 2,
    "freeze_redis": 2,
    "cut_redis_off": 2,
    "lose_replies": 2,
    "refuse_requests": 3,
    "roll_redis_back": 2,
    "spoil_storage": 5,
    "cancel_job": 3,
    "cancel_batch": 2,
    "cancel_and_retry": 6,
    "retry": 3,
    "pause_and_resume": 3,
    "pause_and_resume_at_once": 3,
    "change_priority": 2,
    "drain_worker": 2,
}
#: The share of things that a seed leaves out, and the powers of two by which the others are more or less frequent.
LEFT_OUT, SPREAD = 0.25, 1.5


@dataclass(frozen=True)
class Mix:
    """One seed's choice."""

    weights: Mapping[str, float]
    #: Supervisors with one worker each, and clients that leave and come back at any time.
    num_workers: int
    num_clients: int
    #: Seconds between two faults, and between two batches, at most.
    fault_pause_s: float
    load_pause_s: float
    #: The shares of jobs that take longer than a lease: by many steps, and by slow ones.
    long_share: float
    slow_share: float
    #: Seconds after which a client leaves, at least and at most.
    patience_s: tuple[float, float]

    @classmethod
    def drawn(cls, chance: random.Random) -> Mix:
        """Draw a mix."""
        weights = {
            name: round(weight * 2 ** chance.uniform(-SPREAD, SPREAD), 1)
            for name, weight in WEIGHTS.items()
            if chance.random() >= LEFT_OUT
        }
        shortest = round(chance.uniform(0.4, 1.5), 1)
        return cls(
            weights=weights or dict(WEIGHTS),
            num_workers=chance.randint(2, 4),
            num_clients=chance.randint(0, 3),
            fault_pause_s=round(chance.uniform(0.6, 2.0), 1),
            load_pause_s=round(chance.uniform(0.4, 1.5), 1),
            long_share=round(chance.uniform(0.0, 0.3), 2),
            slow_share=round(chance.uniform(0.0, 0.15), 2),
            patience_s=(shortest, round(shortest + chance.uniform(0.5, 4.0), 1)),
        )

    def __str__(self) -> str:
        without = [name.replace("_", " ") for name in WEIGHTS if name not in self.weights]
        often = sorted(self.weights.items(), key=lambda item: -item[1])
        said = ", ".join(f"{name.replace('_', ' ')} {weight:g}" for name, weight in often)
        leaves = f"{self.num_clients} clients that leave after {self.patience_s[0]:g} to {self.patience_s[1]:g} s"
        jobs = f"{self.long_share:.0%} long and {self.slow_share:.0%} slow jobs"
        return (
            f"{self.num_workers} workers, {leaves}, {jobs}, a fault every {self.fault_pause_s:g} s at most\n"
            f"with {said}\nwithout {', '.join(without) or 'nothing'}"
        )
