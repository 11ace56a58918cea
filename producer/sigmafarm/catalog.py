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
from sigmafarm_common.records import ModelCard
from sigmafarm_common.samplers import BY_NAME, zero_snr_problem
from sigmafarm_common.settings import FARM_DEFAULTS, RenderRequest

#: The side of a picture when nothing says what size a model draws best.
FALLBACK_SIDE_PX = 512


class Catalog:
    """The known models by name, and the one that requests take which name none."""

    def __init__(self, cards: Iterable[ModelCard], default_model: str | None = None):
        self._cards = {card.name: card for card in cards}
        self._default = default_model

    @classmethod
    def gather(cls, config: Config, registered: Iterable[ModelCard]) -> Catalog:
        """Put together what workers registered and what the models file says. Raises InvalidSettings for a bad file."""
        specs = read_models_file(config.models_file) if config.models_file else {}
        cards = {card.name: card for card in registered}
        cards |= {name: _seen_from_here(card_of(spec)) for name, spec in specs.items() if name not in cards}
        return cls(cards.values(), config.default_model or next(iter(specs), None))

    @property
    def is_empty(self) -> bool:
        return not self._cards

    @property
    def cards(self) -> list[ModelCard]:
        return [self._cards[name] for name in sorted(self._cards)]

    def model_named(self, name: str | None) -> str:
        """Return the model of a request that names this one, or none. Raises UnknownModel, or InvalidRequest where
        several could be meant."""
        name = name or self._default or self._only_one()
        if name not in self._cards:
            raise UnknownModel(name, self._cards)
        return name

    def defaults_of(self, model: str) -> dict[str, Any]:
        """Return a value for every setting of a known model but the seed: the model's own, then the farm's."""
        size = {"height": FALLBACK_SIDE_PX, "width": FALLBACK_SIDE_PX}
        return {**FARM_DEFAULTS, **size, **self._cards[model].defaults, "model": model}

    def check_sampler(self, request: RenderRequest) -> None:
        """Raise InvalidRequest for a sampler that the model of a whole request cannot be drawn with."""
        card, sampler = self._cards.get(request.model or ""), BY_NAME.get(request.sampler or "")
        if card and card.is_zero_snr and sampler and (problem := zero_snr_problem(sampler)):
            raise InvalidRequest([FieldError("sampler", problem)])

    def _only_one(self) -> str:
        if len(self._cards) > 1:
            known = ", ".join(sorted(self._cards))
            raise InvalidRequest(
                [FieldError("model", f"model is missing: name one of {known}, or set SIGMAFARM_DEFAULT_MODEL")]
            )
        return next(iter(self._cards), "default")


def _seen_from_here(card: ModelCard) -> ModelCard:
    """Say of a problem that it is this machine's view: the models may lie on the workers alone."""
    said = f"seen from this machine, and no worker serves it yet: {card.problem}"
    return card.model_copy(update={"problem": said}) if card.problem else card
