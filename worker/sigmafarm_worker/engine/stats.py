"""What an engine counts, for the supervisor and the metrics."""

from __future__ import annotations

from typing import Any

from sigmafarm_worker.drawing_engine import EngineStats

#: Weight of the newest step in the smoothed step time.
STEP_TIME_WEIGHT = 0.1


class Counts:
    """The running sums behind EngineStats, all named as there. Written by the engine's thread alone."""

    def __init__(self) -> None:
        self.num_steps = self.num_rows = self.num_padded_rows = 0
        self.num_slot_steps = self.num_slots_offered = 0
        self.num_slot_steps_under_load = self.num_slots_offered_under_load = 0
        self.num_done = self.num_failed = 0
        self.step_s = 0.0

    def add_step(
        self, *, num_rows: int, num_padded_rows: int, num_slots: int, capacity: int, is_loaded: bool, seconds: float
    ) -> None:
        """Count a step. `num_rows` are the jobs' own; `is_loaded` says whether requests waited."""
        self.num_steps += 1
        self.num_rows += num_rows + num_padded_rows
        self.num_padded_rows += num_padded_rows
        self.num_slot_steps += num_slots
        self.num_slots_offered += capacity
        if is_loaded:
            self.num_slot_steps_under_load += num_slots
            self.num_slots_offered_under_load += capacity
        self.step_s += (seconds - self.step_s) * (STEP_TIME_WEIGHT if self.step_s else 1.0)

    def stats(self, **now: Any) -> EngineStats:
        """Return the sums with what the engine holds now."""
        return EngineStats(**vars(self), **now)
