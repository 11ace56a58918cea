"""Samplers by AUTOMATIC1111's names: the farm draws with LMS alone, whose first order is Euler's method.

Clients send "Euler a" or "DPM++ 2M" because that is their default, not because somebody chose it. Such a picture is
drawn with LMS, and its `info` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What the farm has: name, aliases, order.
_SAMPLERS: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("LMS", ("k_lms",), 4),
    ("LMS Karras", ("k_lms_ka",), 4),
    ("Euler", ("k_euler",), 1),
)
_BY_NAME = {n.lower(): (name, order) for name, aliases, order in _SAMPLERS for n in (name, *aliases)}
KARRAS = "karras"

SAMPLERS: list[dict[str, Any]] = [
    {"name": name, "aliases": list(aliases), "options": {"scheduler": KARRAS} if "Karras" in name else {}}
    for name, aliases, _ in _SAMPLERS
]
SCHEDULERS: list[dict[str, Any]] = [
    {"name": name, "label": name.title(), "aliases": None, "default_rho": rho, "need_inner_model": False}
    for name, rho in (("automatic", -1), (KARRAS, 7.0))
]


@dataclass(frozen=True)
class Sampler:
    """What a request's sampler and scheduler come to."""

    name: str
    settings: Mapping[str, Any]
    #: What was asked for and is not here.
    notes: tuple[str, ...] = ()


def sampler_of(name: str | None, scheduler: str | None) -> Sampler:
    """Return the sampler that stands for the one asked for."""
    asked, spacing = (name or "").strip(), (scheduler or "").strip().lower()
    found, order = _BY_NAME.get(asked.lower(), ("LMS", 4))
    is_karras = spacing == KARRAS or (spacing in ("", "automatic") and asked.lower().endswith(("karras", "_ka")))
    notes: list[str] = []
    if asked and asked.lower() not in _BY_NAME:
        notes.append(f"sampler {asked[:60]} is not here: drawn with LMS")
    if spacing not in ("", "automatic", KARRAS):
        notes.append(f"scheduler {spacing[:60]} is not here: drawn with the model's own")
    words = (found.removesuffix(" Karras"), "Karras" if is_karras else "")
    return Sampler(" ".join(words).strip(), {"lms_order": order, "karras_sigmas": is_karras}, tuple(notes))
