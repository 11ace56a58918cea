"""Samplers and schedulers by AUTOMATIC1111's names, in both directions: those of the farm's catalogue.

A name with "Karras" behind it is a sampler with the noise levels of that scheduler: older clients send the one name,
newer ones both. A sampler that the farm does not have is drawn with LMS, and the answer's `info` says so. What is
automatic is left to the model, which knows what it draws best with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sigmafarm_common.samplers import BY_NAME, KARRAS_SUFFIX, LMS, SAMPLERS, sampler_named

#: Noise levels by the name of their scheduler, and the number that goes with them over there.
_SCHEDULERS: Mapping[str, tuple[Mapping[str, Any], float]] = {
    "automatic": ({}, -1),
    "uniform": ({"karras_sigmas": False}, -1),
    "karras": ({"karras_sigmas": True}, 7.0),
}


@dataclass(frozen=True)
class Choice:
    """What a request's sampler and scheduler come to."""

    settings: Mapping[str, Any]
    #: What was asked for and is not here.
    notes: tuple[str, ...] = ()


def list_samplers() -> list[dict[str, Any]]:
    """Return the menu of samplers: each once, and with Karras where it knows those noise levels."""
    plain = [_line(each.label, each.aliases) for each in SAMPLERS]
    spaced = [
        _line(each.label + KARRAS_SUFFIX, [f"{alias}_ka" for alias in each.aliases], scheduler="karras")
        for each in SAMPLERS
        if each.knows_karras
    ]
    return plain + spaced


def list_schedulers() -> list[dict[str, Any]]:
    """Return the menu of schedulers."""
    return [
        {"name": name, "label": name.title(), "aliases": None, "default_rho": rho, "need_inner_model": False}
        for name, (_, rho) in _SCHEDULERS.items()
    ]


def read_sampler(name: str | None, scheduler: str | None) -> Choice:
    """Return the settings of the sampler and the scheduler that a request names, with notes of what is not here."""
    asked, spacing = (name or "").strip(), (scheduler or "automatic").strip().lower()
    settings: dict[str, Any] = sampler_named(asked)
    notes: list[str] = []
    if asked and not settings:
        settings = {"sampler": LMS, **sampler_named(f"{LMS} {asked.split()[-1]}")}
        notes.append(f"sampler {asked[:60]} is not here: drawn with LMS")
    settings.update(_SCHEDULERS.get(spacing, ({}, 0))[0])
    if spacing not in _SCHEDULERS:
        notes.append(f"scheduler {spacing[:60]} is not here: drawn with the model's own")
    if settings.get("karras_sigmas") and not BY_NAME[settings.get("sampler", LMS)].knows_karras:
        settings["karras_sigmas"] = False
        notes.append(f"{BY_NAME[settings['sampler']].label} has no Karras noise levels: drawn with its own")
    return Choice(settings, tuple(notes))


def _line(name: str, aliases: Any, **options: str) -> dict[str, Any]:
    return {"name": name, "aliases": list(aliases), "options": options}
