"""What two jobs have different: their settings, by the names that people read."""

from __future__ import annotations

from dataclasses import dataclass

from sigmafarm_common.records import Job
from sigmafarm_common.settings import REQUEST_FIELDS

#: The ways to compare, and their words.
WAYS = (("side", "Side by side"), ("slider", "Slider"), ("difference", "Difference"))


@dataclass(frozen=True)
class Difference:
    """One setting that two jobs have different; empty where one does not say it."""

    name: str
    first: str
    second: str


def differences(first: Job, second: Job) -> list[Difference]:
    """Return the settings that two jobs have different, the prompt among them, in the order of their fields."""
    said = [job.request.said() for job in (first, second)]
    return [
        Difference(field.label, *(field.shown(each[name]) if name in each else "" for each in said))
        for name, field in REQUEST_FIELDS.items()
        if said[0].get(name) != said[1].get(name)
    ]
