"""Which models the farm knows, and what each fills into a request that leaves something out.

Cards that workers have registered come first; the models file says what no worker has told yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sigmafarm_common.config import Config
from sigmafarm_common.errors import FieldError, InvalidRequest, UnknownModel
from sigmafarm_common.models_file import ModelSpec, read_models_file
from sigmafarm_common.records import ModelCard
from sigmafarm_common.settings import FARM_DEFAULTS

#: The side of a picture when nothing says what size a model draws best.
FALLBACK_SIDE_PX = 512
#: Pixels of a picture for one of the UNet's latents.
PIXELS_PER_LATENT = 8
#: What a checkpoint folder may say about itself, beside the diffusers files.
OWN_SETTINGS_FILE = "sigmafarm.json"


class Catalog:
    """The known models by name, and the one that requests take which name none."""

    def __init__(self, cards: Iterable[ModelCard], default_model: str | None = None):
        self._cards = {card.name: card for card in cards}
        self._default = default_model

    @classmethod
    def gather(cls, config: Config, registered: Iterable[ModelCard]) -> Catalog:
        """Put together what workers registered and what the models file says. Raises InvalidSettings for a bad file."""
        specs = read_models_file(config.models_file) if config.models_file else {}
        cards = {name: card_of(spec) for name, spec in specs.items()}
        cards.update((card.name, card) for card in registered)
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

    def _only_one(self) -> str:
        if len(self._cards) > 1:
            known = ", ".join(sorted(self._cards))
            raise InvalidRequest(
                [FieldError("model", f"model is missing: name one of {known}, or set SIGMAFARM_DEFAULT_MODEL")]
            )
        return next(iter(self._cards), "default")


def card_of(spec: ModelSpec) -> ModelCard:
    """Return what can be known of a model without loading it: the spec's word over the checkpoint's own."""
    card = spec.card()
    own = _read_json(Path(spec.path or "", OWN_SETTINGS_FILE))
    size = {"height": side, "width": side} if (side := native_side_px(spec)) else {}
    defaults = {**size, **own.get("defaults", {}), **card.defaults}
    return ModelCard(name=spec.name, defaults=defaults, description=card.description or own.get("description", ""))


def native_side_px(spec: ModelSpec) -> int | None:
    """Return the side of the pictures that a model was trained on, if its UNet's folder is on this machine."""
    place = spec.unet.path if spec.unet else spec.path
    subfolder = spec.unet.subfolder if spec.unet else None
    for folder in (Path(place or "", subfolder or "unet"), Path(place or "")):
        sample_size = _read_json(folder / "config.json").get("sample_size")
        if isinstance(sample_size, int):
            return sample_size * PIXELS_PER_LATENT
    return None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
