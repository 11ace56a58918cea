"""The order of a list of jobs: by row, state, seed, steps, time or worker, up or down. Equal ones stand by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Glance


class JobOrder(StrEnum):
    """What a list of jobs is sorted by; with a minus, the largest first."""

    #: The place in the batch.
    ROW = "row"
    ROW_DOWN = "-row"
    #: How far it is: queued, running, succeeded, failed, cancelled.
    STATE = "state"
    STATE_DOWN = "-state"
    SEED = "seed"
    SEED_DOWN = "-seed"
    STEPS = "steps"
    STEPS_DOWN = "-steps"
    #: How long its last try took.
    TOOK = "took"
    TOOK_DOWN = "-took"
    #: The worker that has it, or had it last.
    WORKER = "worker"
    WORKER_DOWN = "-worker"

    @property
    def key(self) -> str:
        """What it sorts by."""
        return self.value.removeprefix("-")

    @property
    def is_down(self) -> bool:
        return self.value.startswith("-")

    @property
    def is_by_row(self) -> bool:
        return self.key == "row"

    @property
    def has_fate(self) -> bool:
        """Whether what became of jobs must be read to sort them."""
        return self.key in ("took", "worker")

    @property
    def turned(self) -> JobOrder:
        """The same, the other way round."""
        return JobOrder(self.key if self.is_down else f"-{self.key}")

    def sort(self, glances: Iterable[Glance]) -> list[Glance]:
        """Return jobs in this order; those without a value stand last, whichever way it goes."""
        value_of = _VALUES[self.key]
        by_row = sorted(glances, key=lambda glance: glance.row)
        known = [glance for glance in by_row if value_of(glance) is not None]
        return [
            *sorted(known, key=value_of, reverse=self.is_down),
            *(glance for glance in by_row if value_of(glance) is None),
        ]


def _number(name: str) -> Callable[[Glance], Any]:
    def value_of(glance: Glance) -> Any:
        value = glance.request.get(name)
        return value if isinstance(value, int | float) else None

    return value_of


def _took_ms(glance: Glance) -> int | None:
    return glance.finished_ms - glance.started_ms if glance.started_ms and glance.finished_ms else None


_PLACES = {state: place for place, state in enumerate(JobState)}
_VALUES: Mapping[str, Callable[[Glance], Any]] = {
    "row": lambda glance: glance.row,
    "state": lambda glance: _PLACES[glance.state],
    "seed": _number("seed"),
    "steps": _number("num_inference_steps"),
    "took": _took_ms,
    "worker": lambda glance: glance.worker or None,
}
