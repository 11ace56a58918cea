"""Who takes jobs: the one sentence that is said wherever jobs wait and nobody takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sigmafarm_common.records import Batch, Job, WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide

#: Jobs of a batch that are looked at, those that come next.
NUM_SEEN = 20
#: Workers and models that one sentence names.
MAX_NAMES = 5


def why_it_waits(store: ReadSide, batch: Batch) -> str:
    """Return why no job of a batch can be drawn now, and the cure; empty where some are drawn, or only wait."""
    if batch.counts.running or not batch.counts.queued:
        return ""
    if batch.is_paused:
        return _paused(batch)
    workers = store.workers()
    models = dict.fromkeys(job.model for job in store.jobs(batch.id, state=JobState.QUEUED, limit=NUM_SEEN))
    reasons = [why_none_takes(model, workers) for model in models]
    return reasons[0] if reasons and all(reasons) else ""


def why_job_waits(store: ReadSide, job: Job, batch: Batch) -> str:
    """Return why a job of a batch can't be drawn now, and the cure; empty where it is, was, or waits for its turn."""
    if job.state is not JobState.QUEUED:
        return ""
    return _paused(batch) if batch.is_paused else why_none_takes(job.model, store.workers())


def _paused(batch: Batch) -> str:
    return f"batch {batch.id} is paused: `sigmafarm resume {batch.id}` lets it go on"


def why_all_wait(batch: Batch, workers: Sequence[WorkerInfo]) -> str:
    """Return why a batch waits as far as lists tell without a look at its jobs: no worker takes any."""
    if batch.counts.running or not batch.counts.queued or any(worker.takes_jobs for worker in workers):
        return ""
    return "no worker takes jobs: none lives" if not workers else "no worker takes jobs"


def why_none_takes(model: str, workers: Sequence[WorkerInfo]) -> str:
    """Return why no living worker takes jobs of a model, and the cure; empty where one does."""
    serving = [worker for worker in workers if model in worker.models]
    if any(worker.takes_jobs for worker in serving):
        return ""
    return f"no worker takes jobs for {model}: {_why(model, workers, serving)}"


def _why(model: str, workers: Sequence[WorkerInfo], serving: Sequence[WorkerInfo]) -> str:
    if not workers:
        return (
            "none lives; one that died is replaced in some seconds, one that starts loads its model first; else start "
            "one with `sigmafarm worker`, or the whole farm on this machine with `sigmafarm up`"
        )
    if serving:
        return _listed(_what_ails(worker) for worker in serving)
    broken = [
        f"worker {worker.id} cannot load it: {worker.broken[model]}" for worker in workers if model in worker.broken
    ]
    if broken:
        return _listed(broken)
    others = sorted({name for worker in workers for name in worker.models})
    have = f"those that live have {_listed(others, ', ')}" if others else "those that live have none at all"
    return f"{have}; start one whose models file names it"


def _what_ails(worker: WorkerInfo) -> str:
    if worker.failing:
        return f"worker {worker.id} takes none: {worker.failing}"
    return f"worker {worker.id} is drained; `sigmafarm undrain {worker.id}`, or its button on the dashboard, ends that"


def _listed(texts: Iterable[str], between: str = "; ") -> str:
    texts = list(texts)
    more = [f"and {len(texts) - MAX_NAMES} more"] if len(texts) > MAX_NAMES else []
    return between.join([*texts[:MAX_NAMES], *more])
