"""Spans of time in words."""

from __future__ import annotations

#: Units of time, largest first: name, seconds.
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """Return a span as people say it, two units at most: `0.4 s`, `12 s`, `3 min 20 s`, `2 d 4 h`."""
    if seconds < 0:
        return "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    for (name, size), smaller in zip(_UNITS, (*_UNITS[1:], None), strict=True):
        if whole >= size:
            rest = (whole % size) // smaller[1] if smaller else 0
            return f"{whole // size} {name}" + (f" {rest} {smaller[0]}" if rest and smaller else "")
    return "0 s"


def rough_duration(seconds: float) -> str:
    """Return a span that is only guessed, one unit: `about 3 min`."""
    return f"about {one_unit(max(1.0, seconds))}"


def one_unit(seconds: float) -> str:
    """Return a span in its largest unit: `3 min`."""
    whole = max(1, round(seconds))
    for name, span in _UNITS:
        if whole >= span:
            return f"{whole // span} {name}"
    return "1 s"
