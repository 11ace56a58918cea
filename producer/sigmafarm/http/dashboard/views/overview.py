"""The farm at a glance: its pace as a chart, its queues, what it draws on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sigmafarm.figures import images_per_s, work_left
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
    queues: Sequence[QueueInfo], workers: Sequence[WorkerInfo], pace: Sequence[Pace], now_ms: float
) -> list[Figure]:
    """Return the numbers at the head of the overview."""
    waiting = sum(sum(queue.waiting.values()) + queue.dispatched for queue in queues)
    running = sum(queue.running for queue in queues)
    slots, held = sum(worker.slots for worker in workers), sum(worker.num_jobs for worker in workers)
    open_cost = sum(queue.open_cost for queue in queues)
    taking = [worker for worker in workers if worker.takes_jobs]
    work = work_left(open_cost, pace, len(taking))
    left = Figure("Work left", "none")
    if open_cost and taking:
        value, _, unit = wording.rough_duration(work.work_s).removeprefix("about ").partition(" ")
        left = Figure(
            "Work left", value, unit, "at the pace of now" if work.is_measured else "a guess: nothing drawn yet"
        )
    elif open_cost:
        left = Figure("Work left", "∞", "", "no worker takes jobs")
    return [
        Figure("Pictures a second", wording.rate(images_per_s(pace, now_ms)), "", "over the last minute"),
        left,
        Figure("Waiting", wording.number(waiting), "", f"{wording.number(running)} with workers"),
        Figure("Workers", str(len(taking)), "", _workers_remark(workers, taking, f"{min(held, slots)} of {slots}")),
    ]


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
    queues: Sequence[QueueInfo], pace: Sequence[Pace], workers: Sequence[WorkerInfo], now_ms: float
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
            work=wording.rough_duration(work_left(queue.open_cost, pace, len(workers)).work_s),
            oldest=wording.age(queue.oldest_ms, now_ms),
            why=why_none_takes(queue.model, workers),
        )
        for queue in sorted(busy, key=lambda queue: -queue.open_cost)
    ]


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
