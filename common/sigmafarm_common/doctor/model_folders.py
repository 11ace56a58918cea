"""Whether the models that a farm names can be loaded, as far as it shows without torch: folders, files, weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sigmafarm_common.finding import Finding, Grade, fail, ok, warn
from sigmafarm_common.model_folder import (
    INDEX_FILE,
    SCHEDULER_FILE,
    has_words,
    is_hub_name,
    part_folder,
    pickles_in,
)
from sigmafarm_common.models_file import PARTS, ModelSpec, PartSource

#: The longest header of a safetensors file, as its readers have it.
MAX_HEADER_BYTES = 100_000_000


def model_findings(spec: ModelSpec) -> Iterator[Finding]:
    """Yield what is wrong with a model's files; one line that says ok where nothing is."""
    found = [*_whole(spec), *(f for part in PARTS for f in _part(spec, part))]
    if not any(f.grade is Grade.FAIL for f in found):
        found = list(dict.fromkeys(found)) or [ok(f"model {spec.name}", f"every part is in {spec.path or 'its place'}")]
    yield from dict.fromkeys(found)


def _whole(spec: ModelSpec) -> Iterator[Finding]:
    folder = _local(spec.path)
    if spec.path is None:
        return
    if folder is None:
        yield _not_here(f"model {spec.name}", spec.path)
    elif not (folder / INDEX_FILE).is_file():
        yield fail(f"model {spec.name}", f"{folder} has no model_index.json: name a diffusers-format folder")
    elif spec.scheduler is None and not (folder / SCHEDULER_FILE).is_file():
        yield fail(f"model {spec.name}", f"{folder} has no scheduler/scheduler_config.json: fetch the folder again")


def _part(spec: ModelSpec, part: str) -> Iterator[Finding]:
    source: PartSource | None = getattr(spec, part)
    subject = f"model {spec.name}, {part}"
    place = _local(spec.path if source is None else source.path)
    if place is None:
        if source is not None:
            yield _not_here(subject, source.path)
        return
    folder = part_folder(place, source, part)
    if not folder.is_dir():
        yield fail(subject, f"there is no folder {folder}: add it, or name its place in the models file")
    elif part == "tokenizer":
        yield from _tokenizer(subject, folder)
    else:
        yield from _network(subject, folder)


def _tokenizer(subject: str, folder: Path) -> Iterator[Finding]:
    if not has_words(folder):
        yield fail(subject, f"{folder} lacks vocab.json and merges.txt: fetch the tokenizer's folder again")


def _network(subject: str, folder: Path) -> Iterator[Finding]:
    if not (folder / "config.json").is_file():
        yield fail(subject, f"{folder} has no config.json: fetch the part again")
    files = sorted(folder.glob("*.safetensors"))
    missing = sorted(name for index in folder.glob("*.safetensors.index*.json") for name in _missing(index))
    if missing:
        yield fail(subject, f"{folder} lacks {missing[0]}, which its index names: fetch the part again")
    elif not files and (pickles := pickles_in(folder)):
        yield fail(subject, f"{folder} has only {pickles[0]}, a pickle that could run code: convert it to safetensors")
    elif not files:
        yield fail(subject, f"{folder} has no weights (*.safetensors): fetch the part again")
    for file in files:
        if (why := _damage(file)) is not None:
            yield fail(subject, f"{file} is damaged ({why}): fetch it again")


def _missing(index: Path) -> set[str]:
    try:
        named: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return {str(name) for name in named if not (index.parent / str(name)).is_file()}
    except (OSError, ValueError, KeyError, AttributeError):
        return {index.name}


def _damage(file: Path) -> str | None:
    """Return what is wrong with a safetensors file's header or length, None if nothing is."""
    try:
        size_bytes = file.stat().st_size
        with file.open("rb") as opened:
            header_bytes = int.from_bytes(opened.read(8), "little")
            if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, size_bytes - 8):
                return "its header does not fit into it"
            header: dict[str, Any] = json.loads(opened.read(header_bytes))
        ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return f"its header cannot be read: {error}"
    wanted_bytes = 8 + header_bytes + max(ends, default=0)
    return None if size_bytes == wanted_bytes else f"it has {size_bytes} bytes instead of {wanted_bytes}"


def _local(place: str | None) -> Path | None:
    folder = Path(place).expanduser() if place is not None else None
    return folder if folder is not None and folder.is_dir() else None


def _not_here(subject: str, place: str) -> Finding:
    if is_hub_name(place):
        return warn(subject, f"{place} is no folder here, each worker fetches it from the hub: download it beforehand")
    return fail(subject, f"there is no folder {place}: check the path in the models file")
