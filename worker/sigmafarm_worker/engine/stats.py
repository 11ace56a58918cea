"""What an engine counts, for the supervisor and the metrics."""

from __future__ import annotations

from typing import Any

from sigmafarm_worker.drawing_engine import EngineStats

#: Weight of the newest step in the smoothed step time.
STEP_TIME_WEIGHT = 0.1
#: The most by which a pass over larger pictures takes longer: attention grows with the square of the pixels, all else
#: with the pixels. SD 1.5: 5.8 times the work for 4 times the pixels, 52 for 16.
GROWTH = 1.5


class Counts:
    """The running sums behind EngineStats, all named as there. Written by the engine's thread alone."""

    def __init__(self) -> None:
        self.num_steps = self.num_rows = self.num_padded_rows = 0
        self.num_slot_steps = self.num_slots_offered = 0
        self.num_slot_steps_under_load = self.num_slots_offered_under_load = 0
        self.num_done = self.num_failed = 0
        self.step_s = 0.0
        #: Smoothed seconds of a row, by its pixels to the power of GROWTH; what the step under way may take by that.
        self._row_s = self._expected_s = 0.0

    def anew(self) -> Counts:
        """Return counts that begin at nothing, and know how long a step takes."""
        counts = Counts()
        counts.step_s, counts._row_s = self.step_s, self._row_s
        return counts

    def expect_step(self, *, num_rows: int, num_pixels: int) -> None:
        """Note what is under way: a step over larger pictures than any before may take longer than all of them."""
        self._expected_s = self._row_s * num_rows * num_pixels**GROWTH

    def add_step(
        self,
        *,
        num_rows: int,
        num_padded_rows: int,
        num_pixels: int,
        num_slots: int,
        capacity: int,
        is_loaded: bool,
        seconds: float,
    ) -> None:
        """Count a step. `num_rows` are the jobs' own, of `num_pixels` each; `is_loaded`: whether requests waited."""
        self.num_steps += 1
        self.num_rows += num_rows + num_padded_rows
        self.num_padded_rows += num_padded_rows
        self.num_slot_steps += num_slots
        self.num_slots_offered += capacity
        if is_loaded:
            self.num_slot_steps_under_load += num_slots
            self.num_slots_offered_under_load += capacity
        weight = STEP_TIME_WEIGHT if self.step_s else 1.0
        self.step_s += (seconds - self.step_s) * weight
        row_s = seconds / ((num_rows + num_padded_rows) * num_pixels**GROWTH)
        self._row_s += (row_s - self._row_s) * weight
        self._expected_s = 0.0

    def stats(self, **now: Any) -> EngineStats:
        """Return the sums with what the engine holds now."""
        said = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return EngineStats(**{**said, "step_s": max(self.step_s, self._expected_s)}, **now)
