"""The stacked bar of states: where each state's part begins, and how long it is."""

from __future__ import annotations

from dataclasses import dataclass

from sigmafarm_common.records import Counts
from sigmafarm_common.states import JobState

#: The length of a bar, in its own units, and the least that a state is drawn with which has any job.
BAR_UNITS, LEAST_UNITS = 1000, 6
#: The order of a bar: what is done first, what waits last.
ORDER = (JobState.SUCCEEDED, JobState.RUNNING, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED)


@dataclass(frozen=True)
class Part:
    """One state's part of a bar."""

    state: JobState
    num: int
    #: Of all jobs, 0 to 100.
    percent: float
    #: Where it begins and how long it is, in BAR_UNITS.
    begin: int
    length: int


@dataclass(frozen=True)
class Bar:
    """A stacked bar, and what it says in words."""

    parts: tuple[Part, ...]
    words: str


def bar(counts: Counts) -> Bar:
    """Return the bar of a batch. A state with one job in 10,000 is still seen."""
    nums = [(state, num_in(counts, state)) for state in ORDER if num_in(counts, state)]
    total = sum(num for _, num in nums)
    spare = BAR_UNITS - LEAST_UNITS * len(nums)
    parts: list[Part] = []
    seen = begin = 0
    for place, (state, num) in enumerate(nums, start=1):
        seen += num
        end = LEAST_UNITS * place + round(spare * seen / total)
        parts.append(Part(state, num, 100 * num / total, begin, end - begin))
        begin = end
    words = ", ".join(f"{part.num} {part.state}" for part in parts) or "no jobs"
    return Bar(tuple(parts), words)


def num_in(counts: Counts, state: JobState) -> int:
    """Return how many jobs stand in a state."""
    return getattr(counts, state.value)
