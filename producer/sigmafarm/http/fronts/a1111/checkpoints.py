"""Models as checkpoints, and which one each caller chose.

AUTOMATIC1111 has one checkpoint for everybody, set by POST /options before a request that names none. Here each key has
its own. The choice lies in a file of the data folder, as the sessions' secret does: it outlives the process, and API
processes that share the folder share it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from pathlib import Path
from typing import Any

from sigmafarm.catalog import Catalog
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm_common.errors import InvalidRequest, StorageUnavailable, UnknownModel
from sigmafarm_common.records import ModelCard
from sigmafarm_common.residents import seen_models

CHOICES_FILE = "a1111-checkpoints.json"
#: Callers whose choice is kept, the newest.
MAX_CHOICES = 1_000
#: What clients put behind a model's name: an ending, a hash.
_TAIL = re.compile(r"(\.(safetensors|ckpt))?(\s*\[[0-9a-fA-F]*\])?$")

_lock = threading.Lock()


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
    known = {alias.lower(): card.name for card in cards for alias in card.aliases}
    known |= {card.name.lower(): card.name for card in cards}
    name = _TAIL.sub("", title.strip(), count=1)
    if name.lower() not in known:
        raise UnknownModel(name[:80], sorted(set(known.values())))
    return known[name.lower()]


def current_model(site: Site, caller: Caller) -> str | None:
    """Return the model of a caller's requests that name none; None while the farm knows no model."""
    catalog = Catalog.gather(site.config, site.store.models())
    known = [card.name for card in catalog.cards]
    chosen = _choices(site).get(_key(caller))
    if chosen in known:
        return chosen
    try:
        return catalog.model_named(None)
    except UnknownModel:
        return known[0] if known else None
    except InvalidRequest:  # there are several, and nobody said which: clients want one
        seen = seen_models(catalog.cards, site.store.workers())
        return next((each.card.name for each in seen if not each.is_broken), known[0])


def choose_model(site: Site, caller: Caller, model: str) -> None:
    """Keep a caller's choice. Raises StorageUnavailable where the data folder cannot be written."""
    with _lock:
        choices = _choices(site)
        choices.pop(_key(caller), None)
        choices[_key(caller)] = model
        newest = dict(list(choices.items())[-MAX_CHOICES:])
        try:
            _write(site.config.data_dir, json.dumps(newest))
        except OSError as error:
            raise StorageUnavailable(
                f"the choice of a checkpoint cannot be kept in {site.config.data_dir}: {error.strerror or error}; let "
                "this user write there, or name the model in every request"
            ) from None


def _choices(site: Site) -> dict[str, str]:
    try:
        said = json.loads((site.config.data_dir / CHOICES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _write(folder: Path, text: str) -> None:
    """Put the file in its place whole."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=folder, prefix=".", suffix=".json")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(partial, folder / CHOICES_FILE)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _key(caller: Caller) -> str:
    return f"{caller.owner}/{caller.key_id}"
