"""How a checkpoint folder is laid out: the names of its files and folders, and of the bundled one.

A folder is in diffusers' format, and may carry a file of ours beside that (OWN_SETTINGS_FILE). model_parts.py looks
into it.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from sigmafarm_common.models_file import ModelSpec, PartSource

#: The file that makes a folder a whole checkpoint.
INDEX_FILE = "model_index.json"
#: What a checkpoint folder may say about itself, beside the diffusers files.
OWN_SETTINGS_FILE = "sigmafarm.json"
#: The files of a tokenizer's words, one way or the other, and what its folder says beside them.
WORDS = ("vocab.json", "merges.txt", "tokenizer.json")
TOKENIZER_CONFIGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
#: Suffixes of weights that could run code when they are read.
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
#: The package that the bundled model comes with, which is looked for and never imported, and the model's name.
WORKER_PACKAGE, BUNDLED_NAME = "sigmafarm_worker", "bundled"

#: A repository of the hub, or a file in one.
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_HUB_FILE = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*/[\w./-]+\.safetensors$")


def find_bundled_folder() -> Path | None:
    """Return the folder of the model that comes with the worker, None if this build has none."""
    package = importlib.util.find_spec(WORKER_PACKAGE)
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "bundled_model"
    return folder if (folder / INDEX_FILE).is_file() else None


def bundled_spec(folder: Path) -> ModelSpec:
    """Return the bundled model as a models file would name it."""
    return ModelSpec(name=BUNDLED_NAME, path=str(folder))


def is_hub_name(place: str) -> bool:
    """Whether a place that is nothing here may be a repository of the hub, or a file in one."""
    return _HUB_NAME.match(place) is not None or _HUB_FILE.match(place) is not None


def part_folder(place: Path, source: PartSource | None, part: str) -> Path:
    """Return where a part lies: in its subfolder of the checkpoint, or in its own place if it is named apart."""
    if source is None:
        return place / part
    if source.subfolder is not None:
        return place / source.subfolder
    return place / part if (place / part).is_dir() else place


def has_words(folder: Path) -> bool:
    """Whether a tokenizer's folder has its vocabulary."""
    return (
        all((folder / name).is_file() for name in ("vocab.json", "merges.txt")) or (folder / "tokenizer.json").is_file()
    )


def pickles_in(folder: Path) -> list[str]:
    """Return the names of weights that nobody reads, because they could run code."""
    return [file.name for file in sorted(folder.iterdir()) if file.suffix in PICKLES]
