"""Where the worker finds a model's parts, and how the tokenizer is read: the IO around model_parts.py.

Only safetensors weights are read and no code of a checkpoint is run. A place that is nothing here but looks like a hub
name (owner/name, or owner/name/file.safetensors) is fetched into the hub's cache; from then on everything is local, and
without a network the cache serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_folder import INDEX_FILE, OWN_SETTINGS_FILE
from sigmafarm_common.model_parts import NotHere, PartFiles, local_place
from sigmafarm_common.models_file import PartSource
from sigmafarm_worker.models.clip_tokenizer import make_clip_tokenizer
from sigmafarm_worker.models.load_network import quiet
from sigmafarm_worker.telling import first_line

#: What is fetched of a hub repository, and what of that is left there: duplicates that would double the weights.
_HUB_FILES = ("*.json", "*.txt", "*.safetensors")
_HUB_DUPLICATES = ("*.fp16.*", "*non_ema*")
#: The folders of a whole checkpoint.
_PART_FOLDERS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")


def locate(place: str, source: PartSource | None, part: str) -> Path:
    """Return the local folder or file of a place; a hub name is fetched first. See model_parts.Locate."""
    try:
        return local_place(place)
    except NotHere:
        return _fetched(place, _patterns(source, part))


def load_tokenizer(folder: Path | None, text_encoder: PartFiles) -> CLIPTokenizer:
    """Return the tokenizer in a folder, or CLIP's own where there is none. Raises ModelNotLoadable."""
    if folder is None:
        return make_clip_tokenizer(pad_id=text_encoder.config.get("pad_token_id") or 0)
    with quiet():
        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            tokenizer("a cat")  # what lacks its own special words is told here, not by the first job
            return tokenizer
        except Exception as error:  # the tokenizers' Rust half raises a bare Exception
            raise ModelNotLoadable(f"{folder} cannot be loaded ({first_line(error)}): fetch it again") from error


def _patterns(source: PartSource | None, part: str) -> list[str]:
    if source is None:
        return [f"{folder}/{file}" for folder in _PART_FOLDERS for file in _HUB_FILES]
    inside = [f"{source.subfolder or part}/{file}" for file in _HUB_FILES]
    return inside if source.subfolder else [*_HUB_FILES, *inside]


def _fetched(name: str, patterns: Sequence[str]) -> Path:
    """Return the place in the hub's cache of a repository's files, or of the one that is named; the network is asked
    first, if there is one."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    owner, repository, *file = name.split("/", 2)
    wanted: Any = {"allow_patterns": [*patterns, INDEX_FILE, OWN_SETTINGS_FILE]}
    try:
        if file:
            return Path(hf_hub_download(f"{owner}/{repository}", file[0]))
        return Path(snapshot_download(name, **wanted, ignore_patterns=list(_HUB_DUPLICATES)))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise ModelNotLoadable(
            f"{name} is no folder here and could not be fetched from the hub ({first_line(error)}): check the "
            "name and the network, or download it elsewhere and name the folder"
        ) from error
