"""Spans of time in words."""

from __future__ import annotations

import math

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


def span_range(least_s: float, most_s: float | None) -> str:
    """Return a span that lies between two, rounded away from each other: `about 4 to 6 min`, `less than 2 min`, `more
    than 4 min` where it has no end."""
    if most_s is None:
        return f"more than {one_unit(least_s)}" if least_s >= 1 else ""
    if most_s <= 1:
        return "about 1 s"
    name, size = next((unit for unit in _UNITS if least_s >= 2 * unit[1]), _UNITS[-1])
    least, most = _rounded(least_s / size, is_up=False), _rounded(most_s / size, is_up=True)
    if least_s < 1 or least == 0:
        return f"less than {_least_unit(most_s)}"
    if most > _MOST_UNITS[name]:
        return f"about {least} {name} to {_least_unit(most_s)}"
    return f"about {least} {name}" if least == most else f"about {least} to {most} {name}"


#: The most of a unit that is said of it.
_MOST_UNITS = {"s": 120, "min": 150, "h": 72, "d": 10**9}


def _least_unit(seconds: float) -> str:
    """Return a span rounded up, in the largest unit that it has at least one and a half of."""
    name, size = next((unit for unit in _UNITS if seconds >= 1.5 * unit[1]), _UNITS[-1])
    return f"{_rounded(seconds / size, is_up=True)} {name}"


def _rounded(number: float, *, is_up: bool) -> int:
    """Return a whole number below or above, without more digits than a guess has."""
    step = 1 if number < 20 else 5 if number < 60 else 10
    return step * (math.ceil(number / step) if is_up else math.floor(number / step))


def one_unit(seconds: float) -> str:
    """Return a span in its largest unit: `3 min`."""
    whole = max(1, round(seconds))
    for name, span in _UNITS:
        if whole >= span:
            return f"{whole // span} {name}"
    return "1 s"


def ordinal(number: int) -> str:
    """Return a place in a row: `1st`, `12th`, `1,003rd`."""
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number:,}{last}"
