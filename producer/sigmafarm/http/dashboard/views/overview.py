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
from sigmafarm_common.store.values import PACE_S, Pace, QueueInfo

#: How far back the chart goes, in seconds, and over how many seconds each of its points is taken.
CHART_S, WINDOW_S = 1800, 30


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
class Chart:
    """Pictures a second over time, for the chart (JSON) and in words."""

    data: str
    words: str


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
    slots, held = sum(worker.slots for worker in workers), sum(worker.num_jobs for worker in workers)
    taking = [worker for worker in workers if worker.takes_jobs]
    open_cost = sum(queue.open_cost for queue in queues)
    return [
        Figure("Pictures a second", wording.rate(images_per_s(pace, now_ms)), "", "over the last minute"),
        _work_left(open_cost, waiting + running, taking, forecast),
        Figure("Waiting", wording.number(waiting), "", f"{wording.number(running)} with workers"),
        Figure("Workers", str(len(taking)), "", _workers_remark(workers, taking, f"{min(held, slots)} of {slots}")),
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
    value, _, unit = span.removeprefix("about ").rpartition(" ")
    return Figure("Work left", value, unit, remark)


def _workers_remark(workers: Sequence[WorkerInfo], taking: Sequence[WorkerInfo], filled: str) -> str:
    if not workers:
        return "none lives"
    others = len(workers) - len(taking)
    if not taking:
        return "1 lives and takes none" if others == 1 else f"{others} live and take none"
    return f"{filled} slots filled" if not others else f"take jobs; {others} more {'does' if others == 1 else 'do'} not"


def chart(pace: Sequence[Pace], now_ms: float) -> Chart:
    """Return pictures a second over the last CHART_S, a point an entry of the pace; where nothing was drawn, zero."""
    step_ms, window = PACE_S * 1000, WINDOW_S // PACE_S
    end = int(now_ms) // step_ms * step_ms
    nums = {each.start_ms: each.num_pictures for each in pace}
    starts = range(end - CHART_S * 1000, end, step_ms)
    rates = [sum(nums.get(start - n * step_ms, 0) for n in range(window)) / WINDOW_S for start in starts]
    data = json.dumps({"x": [start // 1000 for start in starts], "y": [round(each, 3) for each in rates]})
    return Chart(data, f"Pictures a second in the last {CHART_S // 60} minutes: at most {wording.rate(max(rates))}")


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
