"""Which workers have a model, and which could not load it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sigmafarm_common.records import ModelCard, WorkerInfo


@dataclass(frozen=True)
class SeenModel:
    """A model, and what living workers say of it."""

    card: ModelCard
    #: Ids of the workers that serve it.
    resident: tuple[str, ...] = ()
    #: Why others could not load it, by worker.
    broken: Mapping[str, str] | None = None

    @property
    def problems(self) -> list[str]:
        """What is wrong with it, one line each, for people; empty for a sound model."""
        said = [f"worker {worker}: {why}" for worker, why in sorted((self.broken or {}).items())]
        return said or ([self.card.problem] if self.card.problem and not self.resident else [])

    @property
    def is_broken(self) -> bool:
        """Whether it cannot be drawn with: a living worker could not load it, and none serves it. What a machine
        without a worker sees of a model is no proof: the model's files may lie on the workers alone."""
        return bool(self.broken) and not self.resident


def seen_models(cards: Iterable[ModelCard], workers: Iterable[WorkerInfo]) -> list[SeenModel]:
    """Return every model by name, those too that no worker could load."""
    workers = list(workers)
    known = {card.name: card for card in cards}
    for worker in workers:
        for name, why in worker.broken.items():
            known.setdefault(name, ModelCard(name=name, problem=why))
    return [
        SeenModel(
            known[name],
            tuple(sorted(worker.id for worker in workers if name in worker.models)),
            {worker.id: worker.broken[name] for worker in workers if name in worker.broken},
        )
        for name in sorted(known)
    ]
