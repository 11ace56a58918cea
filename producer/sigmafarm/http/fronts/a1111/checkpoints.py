"""Models as checkpoints, and the one of a caller's requests that name none."""

from __future__ import annotations

import re
from typing import Any

from sigmafarm.catalog import Catalog
from sigmafarm.http.fronts.a1111.choices import CHECKPOINT, chosen
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm_common.errors import InvalidRequest, UnknownModel
from sigmafarm_common.records import ModelCard
from sigmafarm_common.residents import seen_models

#: What clients put behind a model's name: an ending, a hash.
_TAIL = re.compile(r"(\.(safetensors|ckpt))?(\s*\[[0-9a-fA-F]*\])?$")


def checkpoint(card: ModelCard) -> dict[str, Any]:
    """Return a model as a line of /sd-models."""
    return {
        "title": card.name,
        "model_name": card.name,
        "hash": None,
        "sha256": None,
        "filename": card.name,
        "config": None,
    }


def model_named(site: Site, title: str) -> str:
    """Return the model of a checkpoint's title. Raises UnknownModel."""
    cards = [seen.card for seen in site.farm.seen_models()]
    known = {card.name.lower(): card.name for card in cards}
    aliases = {alias.lower(): alias for card in cards for alias in card.aliases}
    name = _TAIL.sub("", title.strip(), count=1).lower()
    if name in known:
        return known[name]
    if name in aliases:
        return Catalog(cards).model_named(aliases[name])
    raise UnknownModel(name[:80], sorted(known.values()))


def current_model(site: Site, caller: Caller) -> str | None:
    """Return the model of a caller's requests that name none; None while the farm knows no model."""
    catalog = Catalog.gather(site.config, site.store.models())
    known = [card.name for card in catalog.cards]
    model = chosen(site, caller).get(CHECKPOINT)
    if model in known:
        return model
    try:
        return catalog.model_named(None)
    except UnknownModel:
        return known[0] if known else None
    except InvalidRequest:  # there are several, and nobody said which: clients want one
        seen = seen_models(catalog.cards, site.store.workers())
        return next((each.card.name for each in seen if not each.is_broken), known[0])
