"""From the numbers that are kept by model to what is told of each model. A number's name is what:which:model."""

from __future__ import annotations

from collections.abc import Mapping

from sigmafarm_common.store.values import BOUNDS_MS, Durations, Measured

#: Which of a histogram's numbers is the sum of its durations.
SUM = "ms"


def measured_from(numbers: Mapping[str, int]) -> list[Measured]:
    """Return what the numbers tell, by model in order of the names. A name of another form tells nothing."""
    models: dict[str, dict[str, dict[str, int]]] = {}
    for name, number in sorted(numbers.items()):
        what, _, rest = name.partition(":")
        which, found, model = rest.partition(":")
        if found:
            models.setdefault(model, {}).setdefault(what, {})[which] = number
    return [
        Measured(
            model,
            states=said.get("state", {}),
            errors=said.get("error", {}),
            failures=said.get("failure", {}),
            durations={what: _durations(what, said.get(what, {})) for what in BOUNDS_MS},
        )
        for model, said in sorted(models.items())
    ]


def bucket_of(what: str, ms: float) -> int:
    """Return the number of the bucket that a duration belongs to; the first is 1."""
    return 1 + sum(ms > bound for bound in BOUNDS_MS[what])


def _durations(what: str, said: Mapping[str, int]) -> Durations:
    buckets = range(1, len(BOUNDS_MS[what]) + 2)
    return Durations(tuple(said.get(str(n), 0) for n in buckets), said.get(SUM, 0))
