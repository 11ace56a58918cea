"""Whether the models that a farm names can be loaded, as far as it shows without torch: places, files, headers.

The worker finds and checks the parts by the same functions (model_parts.py, model_fit.py), and so says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.finding import Finding, fail, ok, warn
from sigmafarm_common.model_fit import check_embeddings, check_fit
from sigmafarm_common.model_parts import (
    NETWORKS,
    NotHere,
    PartFiles,
    find_part,
    find_root,
    find_words,
    read_own_settings,
)
from sigmafarm_common.model_schedule import find_scheduler
from sigmafarm_common.models_file import ModelSpec


def model_findings(spec: ModelSpec) -> Iterator[Finding]:
    """Yield what is wrong with a model's files; one line that says ok where nothing is."""
    found = list(dict.fromkeys(_findings(spec)))
    yield from found or [ok(f"model {spec.name}", f"every part is in {spec.path or 'its place'}")]


def _findings(spec: ModelSpec) -> Iterator[Finding]:
    root: Path | None = None
    parts: dict[str, PartFiles] = {}
    try:
        root = find_root(spec)
    except ModelNotLoadable as error:
        yield _finding(f"model {spec.name}", error)
        return
    for part in NETWORKS:
        try:
            parts[part] = find_part(spec, root, part)
        except ModelNotLoadable as error:
            yield _finding(f"model {spec.name}, {part}", error)
    yield from _finding_of(f"model {spec.name}, tokenizer", lambda: find_words(spec, root))
    yield from _finding_of(f"model {spec.name}", lambda: check_embeddings(spec))
    yield from _finding_of(f"model {spec.name}", lambda: read_own_settings(root))
    if unet := parts.get("unet"):
        yield from _finding_of(f"model {spec.name}, scheduler", lambda: find_scheduler(spec, root, unet))
    if len(parts) == len(NETWORKS):
        yield from _finding_of(f"model {spec.name}", lambda: check_fit(parts))


def _finding_of(subject: str, look: Callable[[], object]) -> Iterator[Finding]:
    try:
        look()
    except ModelNotLoadable as error:
        yield _finding(subject, error)


def _finding(subject: str, error: ModelNotLoadable) -> Finding:
    return (warn if isinstance(error, NotHere) else fail)(subject, str(error))
