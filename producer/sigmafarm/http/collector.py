"""The farm's figures as Prometheus reads them. Nothing is counted here: every scrape asks the store, so that all API
processes tell the same. Scrape one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sigmafarm.figures import images_per_s, work_left
from sigmafarm_common.clock import Clock
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.store.values import QueueInfo

#: What the store's totals are called here, and what they count.
TOTALS = {
    "submitted": ("jobs_submitted", "Jobs accepted."),
    "claimed": ("jobs_claimed", "Tries that workers began."),
    "succeeded": ("jobs_succeeded", "Pictures."),
    "failed": ("jobs_failed", "Jobs given up."),
    "cancelled": ("jobs_cancelled", "Jobs taken back by their owners."),
    "retried": ("jobs_retried", "Jobs queued again by their owners."),
    "errors": ("tries_failed", "Tries that ended in an error."),
    "lost": ("leases_lost", "Tries whose lease ran out or whose process died."),
    "released": ("jobs_released", "Tries handed back unfinished."),
    "unclaimed": ("calls_unclaimed", "Wake-up calls that nobody answered in time."),
    "refused": ("finishes_refused", "Pictures of tries that had lost their job."),
}


def registry_of(store: ReadSide, clock: Clock) -> CollectorRegistry:
    """Return a registry that asks the store at every scrape."""
    registry = CollectorRegistry()
    registry.register(FarmCollector(store, clock))
    return registry


class FarmCollector(Collector):
    """Asks the store and yields what it says. Raises StoreUnavailable in the midst of a scrape."""

    def __init__(self, store: ReadSide, clock: Clock):
        self._store, self._clock = store, clock

    def describe(self) -> list[Metric]:
        return []  # registering must not ask the store

    def collect(self) -> Iterator[Metric]:
        queues, workers, now_ms = self._store.queues(), self._store.workers(), 1000 * self._clock.wall_s()
        yield from _of_queues(queues, now_ms)
        yield from _of_workers(workers)
        yield from _of_totals(self._store.totals())
        pace, open_cost = self._store.pace(), sum(queue.open_cost for queue in queues)
        work = work_left(open_cost, pace, sum(worker.takes_jobs for worker in workers))
        yield _gauge("images_per_second", "Pictures a second over the last minute.", images_per_s(pace, now_ms))
        yield _gauge("open_cost", "Steps times megapixels of all queued and running jobs.", open_cost)
        yield _gauge("work_seconds", "Seconds until all open work is drawn, at the farm's pace.", work.work_s)
        yield _gauge("work_worker_seconds", "The same for one worker alone.", work.worker_seconds)


def _of_queues(queues: Sequence[QueueInfo], now_ms: float) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("sigmafarm_queue_jobs", "Jobs that wait for dispatch.", labels=["model", "priority"])
    dispatched = GaugeMetricFamily("sigmafarm_dispatched_jobs", "Jobs whose call is on its way.", labels=["model"])
    running = GaugeMetricFamily("sigmafarm_running_jobs", "Jobs that workers have.", labels=["model"])
    age = GaugeMetricFamily(
        "sigmafarm_queue_oldest_seconds", "Age of the oldest batch with waiting jobs, 0 for none.", labels=["model"]
    )
    for queue in queues:
        for priority, num in queue.waiting.items():
            waiting.add_metric([queue.model, str(priority)], num)
        dispatched.add_metric([queue.model], queue.dispatched)
        running.add_metric([queue.model], queue.running)
        age.add_metric([queue.model], max(0.0, (now_ms - queue.oldest_ms) / 1000) if queue.oldest_ms else 0.0)
    yield from (waiting, dispatched, running, age)


def _of_workers(workers: Sequence[WorkerInfo]) -> Iterator[Metric]:
    yield _gauge("workers", "Workers that live.", len(workers))
    yield _gauge("workers_taking_jobs", "Those that take jobs.", sum(w.takes_jobs for w in workers))
    yield from (
        _by_worker("worker_failing", "1 for one that takes none although nobody said so.", workers, _is_failing),
        _by_worker("worker_slots", "Pictures that it can draw at once.", workers, lambda w: w.slots),
        _by_worker("worker_jobs", "Jobs in its hands.", workers, lambda w: w.num_jobs),
        _by_worker("worker_occupancy", "Share of its slots that are filled.", workers, _occupancy),
        _by_worker("worker_step_seconds", "Seconds of a step, smoothed.", workers, lambda w: w.step_s),
        _by_worker("worker_images_per_second", "Pictures a second, lately.", workers, lambda w: w.images_per_s),
        _by_worker("worker_memory_bytes", "Memory that it has taken.", workers, lambda w: w.memory_bytes),
    )


def _of_totals(totals: dict[str, int]) -> Iterator[Metric]:
    for name, (metric, text) in TOTALS.items():
        family = CounterMetricFamily(f"sigmafarm_{metric}", text)
        family.add_metric([], totals.get(name, 0))
        yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sigmafarm_{name}", text, value=value)


def _by_worker(name: str, text: str, workers: Sequence[WorkerInfo], value: Callable[[WorkerInfo], float]) -> Metric:
    family = GaugeMetricFamily(f"sigmafarm_{name}", text, labels=["worker", "device"])
    for worker in workers:
        family.add_metric([worker.id, worker.device], value(worker))
    return family


def _is_failing(worker: WorkerInfo) -> float:
    return float(bool(worker.failing))


def _occupancy(worker: WorkerInfo) -> float:
    return min(1.0, worker.num_jobs / worker.slots) if worker.slots else 0.0
