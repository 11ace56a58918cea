"""Models that share a name and are not the same: a job's picture then depends on the worker that it comes to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sigmafarm_common.records import WorkerInfo

#: Workers that are named for each fingerprint.
SHOWN_WORKERS = 3


@dataclass(frozen=True)
class Namesakes:
    """One name, and who serves what under it."""

    model: str
    #: Ids of the workers by fingerprint.
    workers: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        said = ", ".join(f"{fingerprint} on {_named(ids)}" for fingerprint, ids in sorted(self.workers.items()))
        return (
            f"model {self.model!r} is not the same on all workers ({said}): a job's picture depends on where it "
            "is drawn; give each of them a name of its own in its models file, or the same files to every worker"
        )


def find_namesakes(workers: Iterable[WorkerInfo]) -> list[Namesakes]:
    """Return the names under which living workers serve different models. One that does not tell what its model is made
    of counts as like the others."""
    found: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for worker in workers:
        for model, fingerprint in worker.fingerprints.items():
            if fingerprint and model in worker.models:
                found[model][fingerprint].append(worker.id)
    return [
        Namesakes(model, {fingerprint: tuple(sorted(ids)) for fingerprint, ids in by_fingerprint.items()})
        for model, by_fingerprint in sorted(found.items())
        if len(by_fingerprint) > 1
    ]


def _named(ids: tuple[str, ...]) -> str:
    more = len(ids) - SHOWN_WORKERS
    return " and ".join(ids[:SHOWN_WORKERS]) + (f" and {more} more" if more > 0 else "")
