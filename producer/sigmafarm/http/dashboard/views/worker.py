"""A worker as pages show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sigmafarm.http.dashboard import wording
from sigmafarm_common.records import WorkerInfo

#: Slots that are drawn one by one; more are said in words.
SHOWN_SLOTS = 64


@dataclass(frozen=True)
class WorkerView:
    """One worker, ready to be shown."""

    worker: WorkerInfo
    #: `drawing`, `idle`, `draining` or `failing`: what its badge says and looks like.
    mood: str
    #: For each slot, whether it is filled.
    slots: tuple[bool, ...]
    #: Jobs that it holds ready beyond its slots.
    num_ready: int
    step: str
    rate: str
    memory: str
    age: str
    seen: str
    #: What it holds, as far as the reader may see it.
    jobs: tuple[str, ...]


def worker_view(worker: WorkerInfo, jobs: Sequence[str], now_ms: float) -> WorkerView:
    """Return a worker as it stands."""
    return WorkerView(
        worker=worker,
        mood=mood_of(worker),
        slots=tuple(n < worker.num_filled for n in range(min(worker.slots, SHOWN_SLOTS))),
        num_ready=worker.num_jobs - worker.num_filled,
        step=f"{worker.step_s * 1000:.0f} ms" if worker.step_s else "–",
        rate=wording.rate(worker.images_per_s),
        memory=wording.size(worker.memory_bytes) if worker.memory_bytes else "–",
        age=wording.age(worker.started_ms, now_ms).removesuffix(" ago"),
        seen=wording.age(worker.seen_ms, now_ms),
        jobs=tuple(jobs),
    )


def mood_of(worker: WorkerInfo) -> str:
    """Return the one word that says how a worker is."""
    if worker.failing:
        return "failing"
    if worker.is_draining:
        return "draining"
    return "drawing" if worker.num_jobs else "idle"
