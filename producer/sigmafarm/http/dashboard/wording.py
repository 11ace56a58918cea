"""Figures in words, and hostile text made visible. Pure functions: the time is an argument."""

from __future__ import annotations

from datetime import UTC, datetime

from sigmafarm.spans import duration as duration
from sigmafarm.spans import one_unit
from sigmafarm.spans import span_range as span_range

#: Control characters that stay as they are.
_KEPT = "\n\t"
#: Where Unicode keeps pictures of the control characters.
_CONTROL_PICTURES, _DELETE, _DELETE_PICTURE = 0x2400, 0x7F, "\u2421"


def age(at_ms: int, now_ms: float) -> str:
    """Return how long ago a stored time was, one unit: `just now`, `40 s ago`, `3 d ago`. A dash for none."""
    if not at_ms:
        return "–"
    seconds = max(0.0, (now_ms - at_ms) / 1000)
    return "just now" if seconds < 5 else f"{one_unit(seconds)} ago"


def iso(at_ms: int) -> str:
    """Return a stored time for a machine to read."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at_ms: int) -> str:
    """Return a stored time in full, in UTC; a dash for none. The page shows the reader's own zone."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at_ms else "–"


def number(value: float) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def rate(per_s: float) -> str:
    """Return pictures a second: more digits for less."""
    return f"{per_s:.0f}" if per_s >= 100 else f"{per_s:.1f}" if per_s >= 10 else f"{per_s:.2f}"


def size(num_bytes: float) -> str:
    """Return a size: `812 B`, `4.2 MB`, `17 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if num_bytes >= 10 or unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def jobs(num: int) -> str:
    """Return `1 job` or `12 jobs`."""
    return f"{number(num)} job" + ("" if num == 1 else "s")


def visible(text: str) -> str:
    """Return a text with its control characters drawn: browsers drop NUL, and a terminal would obey an escape."""
    return "".join(_drawn(each) for each in text)


def shortened(text: str, num_chars: int) -> str:
    """Return a text in one line, and cut where it is long."""
    line = " ".join(visible(text[: num_chars * 4]).split())
    return line if len(line) <= num_chars else line[: num_chars - 1].rstrip() + "…"


def code(text: str) -> str:
    """Return an error's code as words: `render_failed` is `Render failed`."""
    words = text.replace("_", " ").strip() or "unknown"
    return words[:1].upper() + words[1:]


def _drawn(each: str) -> str:
    if each in _KEPT or each >= " ":
        return _DELETE_PICTURE if ord(each) == _DELETE else each
    return chr(_CONTROL_PICTURES + ord(each))
