"""When the farm had work: the time between two batches is nobody's pace.

The pace tells what ended when, and not since when there was something to draw. The newest batches tell that: from the
first that was submitted to the last that ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sigmafarm_common.records import Batch

#: The newest batches that are asked for; what was before them is taken for a time with work.
NUM_BATCHES = 30


class Span(NamedTuple):
    """Milliseconds of the store's clock, from and until."""

    start_ms: float
    end_ms: float


#: All of time.
ALWAYS = (Span(-float("inf"), float("inf")),)


def busy_spans(newest: Sequence[Batch], now_ms: float) -> tuple[Span, ...]:
    """Return when any of the newest NUM_BATCHES was open, in order, none touching another. Were there more, all that
    was before the oldest counts as well."""
    spans = [Span(batch.created_ms, batch.finished_ms if batch.counts.is_done else now_ms) for batch in newest]
    if len(newest) >= NUM_BATCHES:
        spans.append(Span(-float("inf"), min(span.start_ms for span in spans)))
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start_ms <= found[-1].end_ms:
            found[-1] = Span(found[-1].start_ms, max(found[-1].end_ms, span.end_ms))
        else:
            found.append(span)
    return tuple(found)


def busy_s(spans: Sequence[Span], start_ms: float, end_ms: float) -> float:
    """Return how many seconds between two times are in some span."""
    shared_ms = sum(max(0.0, min(end_ms, span.end_ms) - max(start_ms, span.start_ms)) for span in spans)
    return shared_ms / 1000
