"""The figures that are told by model: what waits, who takes it, what became of it, and how long that took.

Every model that the farm has seen has every series, at zero where nothing happened: a rule that compares two of them
must not fall silent because one is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from sigmafarm.figures import work_left
from sigmafarm_common.errors import FarmUnavailable, RenderError, SigmafarmError
from sigmafarm_common.records import ModelCard, WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import BOUNDS_MS, Durations, Measured, Pace, QueueInfo

#: What each histogram of the store tells.
DURATIONS = {
    "wait": "Seconds from the submit, or its owner's retry, to the start of the try that ended a job.",
    "draw": "Seconds of drawing, of jobs that got a picture.",
    "upload": "Seconds of encoding and storing a picture.",
}
#: The code of jobs that too many workers died with.
LOST = "lost"


@dataclass(frozen=True)
class Seen:
    """What the store said at one moment."""

    queues: Sequence[QueueInfo]
    workers: Sequence[WorkerInfo]
    cards: Sequence[ModelCard]
    measured: Sequence[Measured]
    pace: Sequence[Pace]
    now_ms: float

    def models(self) -> list[str]:
        """Return the models that anything is known of."""
        named = {q.model for q in self.queues} | {m.model for m in self.measured} | {c.name for c in self.cards}
        return sorted(named | {model for worker in self.workers for model in worker.models})


def of_models(seen: Seen) -> Iterator[Metric]:
    """Yield what is told by model."""
    models = seen.models()
    yield from _of_queues(seen, models)
    measured = {each.model: each for each in seen.measured}
    yield from _of_ends([measured.get(model, Measured(model)) for model in models])


def _of_queues(seen: Seen, models: Sequence[str]) -> Iterator[Metric]:
    queues = {queue.model: queue for queue in seen.queues}
    all_queues = [queues.get(model, QueueInfo(model, {}, 0, 0)) for model in models]
    waiting = GaugeMetricFamily("sigmafarm_queue_jobs", "Jobs that wait for dispatch.", labels=["model", "priority"])
    for queue in all_queues:
        for priority, num in (queue.waiting or {0: 0}).items():
            waiting.add_metric([queue.model, str(priority)], num)
    yield waiting
    num_workers = len(seen.workers)
    seconds = {q.model: work_left(q.open_cost, seen.pace, num_workers).worker_seconds for q in all_queues}
    takers = {m: sum(m in w.models and w.takes_jobs for w in seen.workers) for m in models}
    yield _by_model("waiting_jobs", "Jobs that wait: for dispatch, or for a worker's claim.", _waiting(all_queues))
    yield _by_model("dispatched_jobs", "Jobs whose call is on its way.", {q.model: q.dispatched for q in all_queues})
    yield _by_model("running_jobs", "Jobs that workers have.", {q.model: q.running for q in all_queues})
    ages = {q.model: max(0.0, (seen.now_ms - q.oldest_ms) / 1000) if q.oldest_ms else 0.0 for q in all_queues}
    yield _by_model("queue_oldest_seconds", "Age of the oldest batch with waiting jobs, 0 for none.", ages)
    yield _by_model("model_workers_taking_jobs", "Workers that take its jobs.", takers)
    yield _by_model("model_worker_seconds", "Seconds until its open work is drawn by one worker alone.", seconds)


def _waiting(queues: Sequence[QueueInfo]) -> dict[str, float]:
    return {queue.model: sum(queue.waiting.values()) + queue.dispatched for queue in queues}


def _of_ends(measured: Sequence[Measured]) -> Iterator[Metric]:
    ended = CounterMetricFamily("sigmafarm_jobs_ended", "Jobs that reached their end.", labels=["model", "state"])
    errors = CounterMetricFamily("sigmafarm_errors", "Tries that ended in an error.", labels=["model", "code"])
    failures = CounterMetricFamily("sigmafarm_failures", "Jobs given up.", labels=["model", "code"])
    codes = expected_codes()
    for each in measured:
        for state in (state for state in JobState if state.is_terminal):
            ended.add_metric([each.model, state.value], each.states.get(state.value, 0))
        for family, said in ((errors, each.errors), (failures, each.failures)):
            for code in sorted(codes | set(said)):
                family.add_metric([each.model, code], said.get(code, 0))
    yield from (ended, errors, failures)
    for what, text in DURATIONS.items():
        family = HistogramMetricFamily(f"sigmafarm_{what}_seconds", text, labels=["model"])
        for each in measured:
            durations = each.durations.get(what) or Durations((0,) * (len(BOUNDS_MS[what]) + 1))
            family.add_metric([each.model], _buckets(what, durations), durations.sum_ms / 1000)
        yield family


def expected_codes() -> set[str]:
    """Return the codes of errors that a job may end with."""
    found, left = {LOST}, list[type[SigmafarmError]]([RenderError, FarmUnavailable])
    while left:
        kind = left.pop()
        found.add(kind.code)
        left += kind.__subclasses__()
    return found - {SigmafarmError.code}


def _buckets(what: str, durations: Durations) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus has them: each holds those before it too."""
    bounds = [f"{bound / 1000:g}" for bound in BOUNDS_MS[what]]
    return list(zip([*bounds, "+Inf"], accumulate(durations.counts), strict=True))


def _by_model(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"sigmafarm_{name}", text, labels=["model"])
    for model, value in values.items():
        family.add_metric([model], value)
    return family
