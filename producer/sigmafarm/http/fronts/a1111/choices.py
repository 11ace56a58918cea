"""What each caller chose by POST /options, for its requests that say nothing of it.

AUTOMATIC1111 has one set of options for everybody. Here each key has its own. They lie in a file of the data folder, as
the sessions' secret does: they outlive the process, and API processes that share the folder share them.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm_common.errors import StorageUnavailable

CHOICES_FILE = "a1111-options.json"
#: Callers whose choices are kept, the newest.
MAX_CALLERS = 1_000
#: The option that names the model.
CHECKPOINT = "sd_model_checkpoint"

_lock = threading.Lock()


def chosen(site: Site, caller: Caller) -> Mapping[str, Any]:
    """Return the options that a caller chose, by AUTOMATIC1111's names."""
    return _all(site).get(_key(caller), {})


def choose(site: Site, caller: Caller, options: Mapping[str, Any]) -> None:
    """Keep a caller's choices beside those it made before. Raises StorageUnavailable where the data folder cannot be
    written."""
    with _lock:
        choices = _all(site)
        choices[_key(caller)] = {**choices.pop(_key(caller), {}), **options}
        newest = dict(list(choices.items())[-MAX_CALLERS:])
        try:
            _write(site.config.data_dir, json.dumps(newest))
        except OSError as error:
            raise StorageUnavailable(
                f"options cannot be kept in {site.config.data_dir}: {error.strerror or error}; let this user write "
                "there, or say them in every request"
            ) from None


def _all(site: Site) -> dict[str, dict[str, Any]]:
    try:
        said = json.loads((site.config.data_dir / CHOICES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {str(key): value for key, value in said.items() if isinstance(value, dict)}


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
