"""Which models the farm knows, and what each fills into a request that leaves something out.

Cards that workers have registered come first; the models file says what no worker has told yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sigmafarm_common.config import Config
from sigmafarm_common.errors import FieldError, InvalidRequest, UnknownModel
from sigmafarm_common.model_card import card_of
from sigmafarm_common.models_file import read_models_file
from sigmafarm_common.records import ModelCard, WorkerInfo
from sigmafarm_common.residents import seen_models
from sigmafarm_common.samplers import BY_NAME, zero_snr_problem
from sigmafarm_common.settings import FARM_DEFAULTS, RenderRequest

#: The side of a picture when nothing says what size a model draws best.
FALLBACK_SIDE_PX = 512
#: Models that are named in place of one that cannot be loaded.
SHOWN_MODELS = 10


class Catalog:
    """The known models by name, and the one that requests take which name none."""

    def __init__(
        self, cards: Iterable[ModelCard], default_model: str | None = None, workers: Iterable[WorkerInfo] | None = None
    ):
        """`workers` are those that live: where they are told, a model that they cannot load is refused."""
        self._cards = {card.name: card for card in cards}
        self._default = default_model
        #: The models of each other name: one, unless files of two workers disagree. A model's own name counts more.
        self._aliases: dict[str, list[str]] = {}
        for card in self.cards:
            for alias in card.aliases:
                self._aliases.setdefault(alias, []).append(card.name)
        living = list(workers or ())
        #: Why a model cannot be drawn with, by its name.
        self._broken = {} if workers is None else _broken_models(self._cards.values(), living)
        #: The most pixels that any worker of a model has memory for, where all of them say.
        self._max_pixels = _max_pixels(living)

    @classmethod
    def gather(
        cls, config: Config, registered: Iterable[ModelCard], workers: Iterable[WorkerInfo] | None = None
    ) -> Catalog:
        """Put together what workers registered and what the models file says. Raises InvalidSettings for a bad file."""
        specs = read_models_file(config.models_file) if config.models_file else {}
        cards = {card.name: card for card in registered}
        cards |= {name: _seen_from_here(card_of(spec)) for name, spec in specs.items() if name not in cards}
        return cls(cards.values(), config.default_model or next(iter(specs), None), workers)

    @property
    def is_empty(self) -> bool:
        return not self._cards

    @property
    def cards(self) -> list[ModelCard]:
        return [self._cards[name] for name in sorted(self._cards)]

    def model_named(self, name: str | None) -> str:
        """Return the model of a request that names this one, or none. Raises UnknownModel, or InvalidRequest where
        several could be meant, or where it cannot be loaded: its jobs would wait for ever."""
        name = name or self._default or self._only_one()
        if name not in self._cards:
            name = self._meant(name)
        if why := self._broken.get(name):
            sound = ", ".join(sorted(self._cards.keys() - self._broken.keys())[:SHOWN_MODELS])
            cure = f"mend it, or choose {sound}" if sound else "mend it"
            raise InvalidRequest([FieldError("model", f"model {name!r} cannot be loaded: {why}; {cure}")])
        if name not in self._cards:
            raise UnknownModel(name, self._cards)
        return name

    def defaults_of(self, model: str) -> dict[str, Any]:
        """Return a value for every setting of a known model but the seed: the model's own, then the farm's."""
        size = {"height": FALLBACK_SIDE_PX, "width": FALLBACK_SIDE_PX}
        return {**FARM_DEFAULTS, **size, **self._cards[model].defaults, "model": model}

    def check(self, request: RenderRequest) -> None:
        """Raise InvalidRequest for a whole request that its model cannot be drawn with: by its sampler, or because no
        worker's device has memory for such a picture."""
        self._check_size(request)
        card, sampler = self._cards.get(request.model or ""), BY_NAME.get(request.sampler or "")
        if card and card.is_zero_snr and sampler and (problem := zero_snr_problem(sampler)):
            raise InvalidRequest([FieldError("sampler", problem)])

    def _check_size(self, request: RenderRequest) -> None:
        most, model = self._max_pixels.get(request.model or "", 0), request.model
        if most and (request.height or 0) * (request.width or 0) > most:
            side = int(most**0.5) // 8 * 8
            said = (
                f"{request.width} x {request.height} is too large: no worker of model {model!r} has a device with "
                f"memory for more than {most:,} pixels ({side} x {side}); ask for less, or start a larger worker"
            )
            raise InvalidRequest(
                [FieldError("width" if (request.width or 0) > (request.height or 0) else "height", said)]
            )

    def _meant(self, alias: str) -> str:
        """Return the model that another name is of; the name itself where it is none's."""
        models = self._aliases.get(alias, [alias])
        if len(models) > 1:
            said = f"model {alias!r} is another name of {' and of '.join(models)}: name one of them"
            raise InvalidRequest([FieldError("model", said)])
        return models[0]

    def _only_one(self) -> str:
        if len(self._cards) > 1:
            known = ", ".join(sorted(self._cards))
            raise InvalidRequest(
                [FieldError("model", f"model is missing: name one of {known}, or set SIGMAFARM_DEFAULT_MODEL")]
            )
        return next(iter(self._cards), "default")


def _max_pixels(workers: Iterable[WorkerInfo]) -> dict[str, int]:
    """Return the most pixels of a picture by model, of models whose workers all say how many they have room for."""
    found: dict[str, list[int]] = {}
    for worker in workers:
        for model in worker.models:
            found.setdefault(model, []).append(worker.max_pixels.get(model, 0))
    return {model: max(each) for model, each in found.items() if all(each)}


def _broken_models(cards: Iterable[ModelCard], workers: Iterable[WorkerInfo]) -> dict[str, str]:
    """Return the models that a living worker could not load and none serves, and what is wrong with each."""
    return {seen.card.name: seen.problems[0] for seen in seen_models(cards, workers) if seen.is_broken}


def _seen_from_here(card: ModelCard) -> ModelCard:
    """Say of a problem that it is this machine's view: the models may lie on the workers alone."""
    said = f"seen from this machine, and no worker serves it yet: {card.problem}"
    return card.model_copy(update={"problem": said}) if card.problem else card
