"""A forecast in words: `about 12th of 340 waiting; about 3 to 5 min`."""

from __future__ import annotations

from sigmafarm.forecast.forecast import Eta
from sigmafarm.forecast.line import Turn
from sigmafarm.spans import ordinal, span_range


def eta_words(eta: Eta | None) -> str:
    """Return how long something takes, empty where nobody can say."""
    return span_range(eta.least_s, eta.most_s) if eta else ""


def turn_words(turn: Turn | None, eta: Eta | None) -> str:
    """Return where a job stands and when its picture is there, empty for one that stands nowhere."""
    if turn is None:
        return ""
    place = f"{'' if turn.is_exact else 'about '}{ordinal(turn.position)} of {turn.num_waiting:,} waiting"
    return "; ".join(filter(None, (place, eta_words(eta))))
