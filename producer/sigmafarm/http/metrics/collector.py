"""The farm's figures as Prometheus reads them. Nothing is counted here: every scrape asks the store, so that all API
processes tell the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sigmafarm.figures import images_per_s, work_left
from sigmafarm.http.metrics.by_model import Seen, of_models
from sigmafarm_common.clock import Clock
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store.protocol import ReadSide

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


def registry_of(store: ReadSide, clock: Clock, is_storage_ready: Callable[[], bool]) -> CollectorRegistry:
    """Return a registry that asks the store, and whether pictures can be stored, at every scrape."""
    registry = CollectorRegistry()
    registry.register(FarmCollector(store, clock, is_storage_ready))
    return registry


class FarmCollector(Collector):
    """Asks the store and yields what it says. Raises StoreUnavailable in the midst of a scrape."""

    def __init__(self, store: ReadSide, clock: Clock, is_storage_ready: Callable[[], bool]):
        self._store, self._clock, self._is_storage_ready = store, clock, is_storage_ready

    def describe(self) -> list[Metric]:
        return []  # registering must not ask the store

    def collect(self) -> Iterator[Metric]:
        store = self._store
        now_ms = 1000 * self._clock.wall_s()
        seen = Seen(store.queues(), store.workers(), store.models(), store.measured(), store.pace(), now_ms)
        yield from of_models(seen)
        yield from _of_workers(seen.workers)
        yield from _of_totals(store.totals())
        yield from _of_pace(seen)
        yield from self._of_ground()

    def _of_ground(self) -> Iterator[Metric]:
        """Yield what the farm stands on: the object store, Redis, the keeper."""
        memory, round_s = self._store.memory(), self._store.rounds().good_ms / 1000
        yield _gauge(
            "storage_ready", "1 where pictures can be stored, as this process sees it.", self._is_storage_ready()
        )
        yield _gauge("redis_memory_bytes", "Memory that Redis uses.", memory.used_bytes)
        limit = "Memory that it may use: its maxmemory, else the machine's; 0 where it does not say."
        yield _gauge("redis_memory_limit_bytes", limit, memory.limit_bytes)
        yield _gauge("keeper_round_timestamp_seconds", "When the keeper last ended a whole round.", round_s)


def _of_pace(seen: Seen) -> Iterator[Metric]:
    open_cost = sum(queue.open_cost for queue in seen.queues)
    work = work_left(open_cost, seen.pace, sum(worker.takes_jobs for worker in seen.workers))
    yield _gauge("images_per_second", "Pictures a second over the last minute.", images_per_s(seen.pace, seen.now_ms))
    yield _gauge("open_cost", "Steps times megapixels of all queued and running jobs.", open_cost)
    yield _gauge("work_seconds", "Seconds until all open work is drawn, at the farm's pace.", work.work_s)
    yield _gauge("work_worker_seconds", "The same for one worker alone.", work.worker_seconds)


def _of_workers(workers: Sequence[WorkerInfo]) -> Iterator[Metric]:
    yield _gauge("workers", "Workers that live.", len(workers))
    yield _gauge("workers_taking_jobs", "Those that take jobs.", sum(w.takes_jobs for w in workers))
    yield _gauge(
        "workers_failing", "Those that take none although nobody said so.", sum(bool(w.failing) for w in workers)
    )
    yield _gauge("workers_draining", "Those that were told to take no more.", sum(w.is_draining for w in workers))
    yield _gauge("worker_slots", "Pictures that all workers can draw at once.", sum(w.slots for w in workers))
    yield _gauge("worker_slots_filled", "Those with a job in them.", sum(w.num_filled for w in workers))
    yield _gauge("worker_jobs", "Jobs in their hands, those that lie ready too.", sum(w.num_jobs for w in workers))
    yield _gauge(
        "worker_step_seconds", "Seconds of a step of the slowest.", max([w.step_s for w in workers], default=0)
    )
    memory = max([w.memory_bytes for w in workers], default=0)
    yield _gauge("worker_memory_bytes", "Memory that the largest has taken.", memory)


def _of_totals(totals: dict[str, int]) -> Iterator[Metric]:
    for name, (metric, text) in TOTALS.items():
        family = CounterMetricFamily(f"sigmafarm_{metric}", text)
        family.add_metric([], totals.get(name, 0))
        yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sigmafarm_{name}", text, value=value)
