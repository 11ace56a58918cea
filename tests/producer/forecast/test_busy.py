"""When there was work: what lies between two batches is no part of the pace."""

from __future__ import annotations

import pytest

from sigmafarm.forecast import Forecast, rate_of
from sigmafarm.forecast.busy import NUM_BATCHES, Span, busy_s, busy_spans
from sigmafarm_common.records import Batch, Counts, WorkerInfo
from sigmafarm_common.store.values import Pace


def a_batch(created_s: float, finished_s: float | None) -> Batch:
    return Batch(
        id=f"b{created_s:g}",
        name="",
        owner="ann",
        priority=0,
        is_paused=False,
        counts=Counts(succeeded=1) if finished_s is not None else Counts(running=1),
        created_ms=int(created_s * 1000),
        finished_ms=int((finished_s or 0) * 1000),
    )


def test_minutes_between_two_small_batches_do_not_slow_the_farm_down():
    pace = [Pace(30_000, 12, 24.0), Pace(440_000, 6, 12.0)]
    batches = [a_batch(443, 446), a_batch(29, 35)]
    worker = WorkerInfo(id="w", models=("m",), host="h", pid=1, device="cpu", slots=16, lookahead=4)

    rate = rate_of(pace, 460_000, busy_spans(batches, 460_000))
    eta = Forecast.of(pace, [], [worker], 460_000, busy_spans(batches, 460_000)).of_all(40.0, 20)

    assert rate is not None
    assert rate.per_s == pytest.approx(12 / 3), "the second batch took three seconds"
    assert eta is not None
    assert eta.seconds == pytest.approx(10)
    slow = rate_of(pace, 460_000)
    assert slow is not None
    assert slow.per_s == pytest.approx(12 / 410), "who knows of no batches takes all of it for work"


def test_batches_that_overlap_or_are_open_count_once():
    spans = busy_spans([a_batch(50, None), a_batch(12, 30), a_batch(10, 20)], 60_000)

    assert spans == (Span(10_000, 30_000), Span(50_000, 60_000))
    assert busy_s(spans, 0, 100_000) == 30
    assert busy_s(spans, 25_000, 55_000) == 10


def test_what_was_before_the_batches_that_are_looked_at_counts_as_work():
    newest = [a_batch(1000 + 10 * n, 1000 + 10 * n + 1) for n in reversed(range(NUM_BATCHES))]

    spans = busy_spans(newest, 2_000_000)

    assert busy_s(spans, 900_000, 1_005_000) == 101
    assert rate_of([Pace(0, 1, 8.0), Pace(40_000, 1, 8.0)], 60_000, spans) == rate_of(
        [Pace(0, 1, 8.0), Pace(40_000, 1, 8.0)], 60_000
    )
