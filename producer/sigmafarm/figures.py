"""The farm in figures: how fast it draws, and how long what is queued will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sigmafarm_common.records import ModelCard
from sigmafarm_common.store.values import PACE_S, Pace, QueueInfo

#: Seconds that pictures a second are counted over, and that the pace of work is judged by, back from the newest.
SPEED_S, PACE_WINDOW_S = 60, 300
#: Steps times megapixels a second that a worker is taken for while nothing tells its pace: rather too few.
UNKNOWN_PACE = 1.0


@dataclass(frozen=True)
class Work:
    """How long the open work takes."""

    #: For the farm as it draws now, and for one worker alone.
    work_s: float
    worker_seconds: float
    #: False while nothing was drawn that it could be judged by.
    is_measured: bool


def images_per_s(pace: Sequence[Pace], now_ms: float) -> float:
    """Return the pictures a second over the last minute."""
    return sum(p.num_pictures for p in pace if p.start_ms > now_ms - SPEED_S * 1000) / SPEED_S


def work_left(open_cost: float, pace: Sequence[Pace], num_workers: int) -> Work:
    """Return how long the open work takes at the pace of the last minutes in which something was drawn."""
    rate = cost_per_s(pace)
    farm_rate = rate or UNKNOWN_PACE * max(num_workers, 1)
    seconds = open_cost / farm_rate
    return Work(round(seconds, 3), round(seconds * max(num_workers, 1), 3), bool(rate))


def worker_seconds_by_model(
    queues: Sequence[QueueInfo], cards: Sequence[ModelCard], pace: Sequence[Pace], num_workers: int
) -> dict[str, float]:
    """Return the seconds of each model's open work for one worker alone, at the pace of the whole farm."""
    costs = dict.fromkeys([card.name for card in cards], 0.0) | {queue.model: queue.open_cost for queue in queues}
    return {model: work_left(cost, pace, num_workers).worker_seconds for model, cost in sorted(costs.items())}


def cost_per_s(pace: Sequence[Pace]) -> float:
    """Return steps times megapixels a second, 0 where nothing was drawn in the last hour."""
    if not pace:
        return 0.0
    recent = [p for p in pace if p.start_ms > pace[-1].start_ms - PACE_WINDOW_S * 1000]
    span_s = (recent[-1].start_ms - recent[0].start_ms) / 1000 + PACE_S
    return sum(p.cost for p in recent) / span_s
