"""Samplers by AUTOMATIC1111's names: the farm draws with LMS alone, whose first order is Euler's method.

Clients send "Euler a" or "DPM++ 2M" because that is their default, not because somebody chose it. Such a picture is
drawn with LMS, and its `info` says so. What is automatic is left to the model, which knows what it draws best with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What the farm has: name, aliases, and what they say.
_SAMPLERS: tuple[tuple[str, tuple[str, ...], Mapping[str, Any]], ...] = (
    ("LMS", ("k_lms",), {}),
    ("LMS Karras", ("k_lms_ka",), {"karras_sigmas": True}),
    ("Euler", ("k_euler",), {"lms_order": 1}),
)
_BY_NAME = {n.lower(): said for name, aliases, said in _SAMPLERS for n in (name, *aliases)}
#: Noise levels by the name of their scheduler, and the number that goes with them over there.
_SCHEDULERS: Mapping[str, tuple[Mapping[str, Any], float]] = {
    "automatic": ({}, -1),
    "uniform": ({"karras_sigmas": False}, -1),
    "karras": ({"karras_sigmas": True}, 7.0),
}

SAMPLERS: list[dict[str, Any]] = [
    {"name": name, "aliases": list(aliases), "options": {"scheduler": "karras"} if said.get("karras_sigmas") else {}}
    for name, aliases, said in _SAMPLERS
]
SCHEDULERS: list[dict[str, Any]] = [
    {"name": name, "label": name.title(), "aliases": None, "default_rho": rho, "need_inner_model": False}
    for name, (_, rho) in _SCHEDULERS.items()
]


@dataclass(frozen=True)
class Sampler:
    """What a request's sampler and scheduler come to."""

    settings: Mapping[str, Any]
    #: What was asked for and is not here.
    notes: tuple[str, ...] = ()


def sampler_of(name: str | None, scheduler: str | None) -> Sampler:
    """Return the sampler that stands for the one asked for."""
    asked, spacing = (name or "").strip(), (scheduler or "automatic").strip().lower()
    settings = dict(_BY_NAME.get(asked.lower(), {"karras_sigmas": True} if asked.lower().endswith("karras") else {}))
    settings.update(_SCHEDULERS.get(spacing, ({}, 0))[0])
    notes: list[str] = []
    if asked and asked.lower() not in _BY_NAME:
        notes.append(f"sampler {asked[:60]} is not here: drawn with LMS")
    if spacing not in _SCHEDULERS:
        notes.append(f"scheduler {spacing[:60]} is not here: drawn with the model's own")
    return Sampler(settings, tuple(notes))
