"""The farm at a glance: its pace as a chart, its queues, what it draws on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sigmafarm.figures import images_per_s, work_left
from sigmafarm.forecast import Forecast, eta_words
from sigmafarm.http.dashboard import wording
from sigmafarm.takers import why_none_takes
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store.values import PACE_S, Moment, Pace, QueueInfo

#: How far back the chart goes, in seconds, and over how many seconds each of its points is taken.
CHART_S, WINDOW_S = 1800, 30
#: Seconds of one row of its table.
ROW_S = 300


@dataclass(frozen=True)
class Figure:
    """One number of the farm, with what it is and a remark."""

    name: str
    value: str
    unit: str = ""
    remark: str = ""


@dataclass(frozen=True)
class QueueRow:
    """What waits for one model at one priority; `share` is its part of the longest such queue, 0 to 100."""

    priority: int
    num: int
    share: int


@dataclass(frozen=True)
class QueueView:
    """What waits for one model."""

    model: str
    rows: tuple[QueueRow, ...]
    dispatched: int
    running: int
    work: str
    oldest: str
    #: Why nobody takes its jobs, and the cure; empty where a worker does.
    why: str


@dataclass(frozen=True)
class ChartRow:
    """Some minutes of the chart, for its table."""

    start_ms: int
    num_pictures: int
    num_failed: int
    #: Jobs that waited at the end of it; None where nobody counted.
    num_waiting: int | None


@dataclass(frozen=True)
class Chart:
    """Pictures and failures a minute, and waiting jobs, over time: for the chart (JSON), in words, and as a table."""

    data: str
    words: str
    rows: tuple[ChartRow, ...] = ()


def figures(
    queues: Sequence[QueueInfo],
    workers: Sequence[WorkerInfo],
    pace: Sequence[Pace],
    now_ms: float,
    forecast: Forecast,
) -> list[Figure]:
    """Return the numbers at the head of the overview."""
    waiting = sum(sum(queue.waiting.values()) + queue.dispatched for queue in queues)
    running = sum(queue.running for queue in queues)
    slots, filled = sum(worker.slots for worker in workers), sum(worker.num_filled for worker in workers)
    taking = [worker for worker in workers if worker.takes_jobs]
    open_cost = sum(queue.open_cost for queue in queues)
    return [
        Figure("Pictures a second", wording.rate(images_per_s(pace, now_ms)), "", "over the last minute"),
        _work_left(open_cost, waiting + running, taking, forecast),
        Figure("Waiting", wording.number(waiting), "", f"{wording.number(running)} with workers"),
        Figure("Workers", str(len(taking)), "", _workers_remark(workers, taking, f"{filled} of {slots}")),
    ]


def _work_left(open_cost: float, num_open: int, taking: Sequence[WorkerInfo], forecast: Forecast) -> Figure:
    """Return how long all open work takes: a range at the pace of now, else a guess."""
    if not open_cost:
        return Figure("Work left", "none")
    if not taking:
        return Figure("Work left", "∞", "", "no worker takes jobs")
    span = eta_words(forecast.of_all(open_cost, num_open))
    if not span:
        span = wording.span_range(*(work_left(open_cost, (), len(taking)).work_s,) * 2)
        remark = "a guess: nothing drawn yet"
    else:
        remark = "at the pace of now"
    span = span.removeprefix("about ")
    if " " in span.partition(" to ")[0] and " to " in span:  # 25 s to 3 min: each has a unit of its own
        return Figure("Work left", span, "", remark)
    value, _, unit = span.rpartition(" ")
    return Figure("Work left", value, unit, remark)


def _workers_remark(workers: Sequence[WorkerInfo], taking: Sequence[WorkerInfo], filled: str) -> str:
    if not workers:
        return "none lives"
    others = len(workers) - len(taking)
    if not taking:
        return "1 lives and takes none" if others == 1 else f"{others} live and take none"
    return f"{filled} slots filled" if not others else f"take jobs; {others} more {'does' if others == 1 else 'do'} not"


def chart(moments: Sequence[Moment], now_ms: float) -> Chart:
    """Return what happened over the last CHART_S, a point an entry of the pace; where nothing was drawn, zero. How many
    wait is counted by the leading keeper: where there was none, that is not known."""
    step_ms, window = PACE_S * 1000, WINDOW_S // PACE_S
    end = int(now_ms) // step_ms * step_ms
    known = {each.start_ms: each for each in moments}
    starts = range(end - CHART_S * 1000, end, step_ms)

    def a_minute(name: str) -> list[float]:
        nums = {each.start_ms: getattr(each, name) for each in moments}
        return [sum(nums.get(start - n * step_ms, 0) for n in range(window)) * 60 / WINDOW_S for start in starts]

    pictures, failed = a_minute("num_pictures"), a_minute("num_failed")
    waiting = [known[start].num_waiting if start in known else None for start in starts]
    said = {"x": [start // 1000 for start in starts], "y": pictures, "failed": failed, "waiting": waiting}
    most_waiting = max((num for num in waiting if num is not None), default=0)
    words = (
        f"Pictures a minute in the last {CHART_S // 60} minutes: at most {wording.rate(max(pictures))}; jobs failed a "
        f"minute: at most {wording.rate(max(failed))}; jobs waiting: at most {wording.number(most_waiting)}"
    )
    return Chart(json.dumps(said), words, _chart_rows([known.get(start, Moment(start)) for start in starts]))


def _chart_rows(moments: Sequence[Moment]) -> tuple[ChartRow, ...]:
    """Return the chart by ROW_S, the newest first."""
    size = ROW_S // PACE_S
    pieces = [moments[at : at + size] for at in range(0, len(moments), size)]
    return tuple(
        ChartRow(
            piece[0].start_ms,
            sum(each.num_pictures for each in piece),
            sum(each.num_failed for each in piece),
            next((each.num_waiting for each in reversed(piece) if each.num_waiting is not None), None),
        )
        for piece in reversed(pieces)
    )


def queue_views(
    queues: Sequence[QueueInfo], forecast: Forecast, workers: Sequence[WorkerInfo], now_ms: float
) -> list[QueueView]:
    """Return the queues in which anything stands, the longest work first."""
    busy = [queue for queue in queues if queue.dispatched or queue.running or any(queue.waiting.values())]
    most = max((num for queue in busy for num in queue.waiting.values()), default=1) or 1
    return [
        QueueView(
            model=queue.model,
            rows=tuple(
                QueueRow(priority, num, max(2, 100 * num // most))
                for priority, num in sorted(queue.waiting.items(), reverse=True)
                if num
            ),
            dispatched=queue.dispatched,
            running=queue.running,
            work=eta_words(forecast.of_all(queue.open_cost, _num_open(queue))),
            oldest=wording.age(queue.oldest_ms, now_ms),
            why=why_none_takes(queue.model, workers),
        )
        for queue in sorted(busy, key=lambda queue: -queue.open_cost)
    ]


def _num_open(queue: QueueInfo) -> int:
    return sum(queue.waiting.values()) + queue.dispatched + queue.running


def total_words(totals: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return what the farm counted since it began, in the order of interest."""
    names = (
        ("Pictures", "succeeded"),
        ("Failed", "failed"),
        ("Cancelled", "cancelled"),
        ("Retried", "retried"),
        ("Tries lost", "lost"),
        ("Finishes refused", "refused"),
    )
    return [(name, totals.get(key, 0)) for name, key in names]
