"""Where a checkpoint's parts lie, and how each is read: the IO half of loading a model.

Only safetensors weights are read and no code of a checkpoint is run. A place that is no local folder but looks like a
hub name (owner/name) is fetched into the hub's cache; from then on everything is a local folder, and without a network
the cache serves. Every failure is a ModelNotLoadable that says what, where and the cure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_folder import INDEX_FILE, OWN_SETTINGS_FILE, has_words, is_hub_name, part_folder, pickles_in
from sigmafarm_common.models_file import ModelSpec, PartSource

#: What is fetched of a hub repository, and what of that is left there: duplicates that would double the weights.
_HUB_FILES = ("*.json", "*.txt", "*.safetensors")
_HUB_DUPLICATES = ("*.fp16.*", "*non_ema*")
#: The folders of a whole checkpoint.
_PART_FOLDERS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
#: Each network's class, and the stem of its weights' file.
NETWORKS: Mapping[str, tuple[Any, str]] = {
    "unet": (UNet2DConditionModel, "diffusion_pytorch_model"),
    "vae": (AutoencoderKL, "diffusion_pytorch_model"),
    "text_encoder": (CLIPTextModel, "model"),
}


def load_network(spec: ModelSpec, root: Path | None, part: str, dtype: torch.dtype) -> Any:
    """Return the UNet, VAE or text encoder of a model on the CPU, every weight from its file."""
    kind, stem = NETWORKS[part]
    what, folder = _name(spec, part), _part_folder(spec, root, part)
    _check_class(what, folder, kind)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    options |= {"torch_dtype": dtype, "variant": _check_weights(what, folder, stem)}
    with _quiet(), _told(what, folder):
        network, info = kind.from_pretrained(folder, **options)
    # What a file lacks the loaders fill with random numbers, and say so in a log only.
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelNotLoadable(
            f"{what}: the weights in {folder} lack {len(missing)} tensors ({missing[0]}, ...): they belong to another "
            "config.json; fetch the part again"
        )
    return network


def network_files(spec: ModelSpec, root: Path | None, part: str) -> tuple[Path, list[Path]]:
    """Return the configuration and the weights' files that `load_network` reads."""
    folder, stem = _part_folder(spec, root, part), NETWORKS[part][1]
    variant = _check_weights(_name(spec, part), folder, stem)
    middle = f".{variant}" if variant else ""
    index = folder / f"{stem}.safetensors.index{middle}.json"
    if not index.is_file():
        return folder / "config.json", [folder / f"{stem}{middle}.safetensors"]
    names = set(read_json(_name(spec, part), index)["weight_map"].values())
    return folder / "config.json", [folder / name for name in sorted(names)]


def load_tokenizer(spec: ModelSpec, root: Path | None) -> CLIPTokenizer:
    """Return the tokenizer of a model."""
    what, folder = _name(spec, "tokenizer"), _part_folder(spec, root, "tokenizer")
    if not has_words(folder):
        raise ModelNotLoadable(f"{what}: {folder} lacks vocab.json and merges.txt: fetch the tokenizer's folder again")
    with _quiet(), _told(what, folder):
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def checkpoint_folder(spec: ModelSpec) -> Path | None:
    """Return the local folder of the whole checkpoint, or None where every part is named apart."""
    if spec.path is None:
        return None
    patterns = [f"{part}/{file}" for part in _PART_FOLDERS for file in _HUB_FILES]
    folder = _local_folder(spec.path, f"model {spec.name!r}", patterns)
    if not (folder / INDEX_FILE).is_file():
        raise ModelNotLoadable(
            f"model {spec.name!r}: {folder} is no diffusers checkpoint, it has no model_index.json: name the folder "
            "that holds it with the subfolders tokenizer, text_encoder, unet, vae and scheduler"
        )
    return folder


def read_json(what: str, file: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file of a checkpoint."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelNotLoadable(f"{what}: {file} cannot be read ({error.strerror}): fetch the part again") from error
    except ValueError as error:
        raise ModelNotLoadable(f"{what}: {file} is no JSON ({error}): fetch the part again") from error
    if not isinstance(data, dict):
        raise ModelNotLoadable(f"{what}: {file} holds no JSON object: fetch the part again")
    return data


# Places


def _part_folder(spec: ModelSpec, root: Path | None, part: str) -> Path:
    """Return where a part lies: its own place if it is named apart, else its subfolder of the checkpoint."""
    source: PartSource | None = getattr(spec, part)
    what = _name(spec, part)
    if source is None:
        assert root is not None, "ModelSpec makes sure that a spec without a path names every part"
        return _existing(root / part, what)
    patterns = [f"{source.subfolder or part}/{file}" for file in _HUB_FILES]
    folder = _local_folder(source.path, what, patterns if source.subfolder else [*_HUB_FILES, *patterns])
    return _existing(part_folder(folder, source, part), what)


def _local_folder(place: str, what: str, patterns: list[str]) -> Path:
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelNotLoadable(f"{what}: {place} is a file: name a diffusers-format folder")
    if not is_hub_name(place):
        raise ModelNotLoadable(f"{what}: there is no folder {place}: check the path in the models file")
    return _fetched(place, what, patterns)


def _fetched(name: str, what: str, patterns: list[str]) -> Path:
    """Return the folder of the hub's cache with a repository's files; the network is asked first, if there is one."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = [*patterns, INDEX_FILE, OWN_SETTINGS_FILE]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, ignore_patterns=list(_HUB_DUPLICATES)))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise ModelNotLoadable(
            f"{what}: {name} is no folder here and could not be fetched from the hub ({_first_line(error)}): check the "
            "name and the network, or download it elsewhere and name the folder"
        ) from error


def _existing(folder: Path, what: str) -> Path:
    if not folder.is_dir():
        raise ModelNotLoadable(f"{what}: there is no folder {folder}: add it, or name its place in the models file")
    return folder


# Checks before a loader sees the files


def _check_class(what: str, folder: Path, kind: type) -> None:
    config = read_json(what, folder / "config.json")
    said = config.get("_class_name") or next(iter(config.get("architectures") or []), None)
    allowed = {kind.__name__}
    if config.get("model_type") in ("clip", "clip_text_model"):
        # The CLIP repositories carry the text encoder inside the whole CLIPModel.
        allowed = {"CLIPTextModel", "CLIPModel", "CLIPTextModelWithProjection", None}
    if said not in allowed:
        found = said or config.get("model_type") or "part of an unknown class"
        wanted = f"{kind.__name__}: this farm draws with Stable Diffusion 1.x and 2.x"
        raise ModelNotLoadable(f"{what}: {folder} holds a {found}, not a {wanted}")


def _check_weights(what: str, folder: Path, stem: str) -> str | None:
    """Return the variant of the safetensors weights in the folder. Raises ModelNotLoadable if they cannot be opened."""
    for variant, middle in ((None, ""), ("fp16", ".fp16")):
        if (folder / f"{stem}.safetensors.index{middle}.json").is_file():
            return variant
        file = folder / f"{stem}{middle}.safetensors"
        if file.is_file():
            _check_opens(what, file)
            return variant
    if unsafe := pickles_in(folder):
        raise ModelNotLoadable(
            f"{what}: {folder} has only {unsafe[0]}, a pickle that could run code when it is read: convert it to "
            "safetensors (save_pretrained with safe_serialization=True) or fetch the safetensors file"
        )
    raise ModelNotLoadable(f"{what}: {folder} has no weights, {stem}.safetensors is missing: fetch the part again")


def _check_opens(what: str, file: Path) -> None:
    try:
        with safe_open(file, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise ModelNotLoadable(f"{what}: {file} is damaged ({_first_line(error)}): fetch it again") from error


# Around a loader


@contextmanager
def _told(what: str, folder: Path) -> Generator[None]:
    """Turn a loader's exception into ours, with its first line."""
    try:
        yield
    except (
        Exception
    ) as error:  # what four libraries raise for damaged files; the tokenizers' Rust half a bare Exception
        raise ModelNotLoadable(f"{what}: {folder} cannot be loaded ({_first_line(error)}): fetch it again") from error


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the loaders' progress bars and reports out of the log; what matters of them becomes ModelNotLoadable."""
    undo: list[Callable[[], None]] = []
    for logging in (diffusers_logging, transformers_logging):
        level = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        undo += [lambda f=logging, at=level: f.set_verbosity(at), logging.enable_progress_bar]
    try:
        yield
    finally:
        for action in undo:
            action()


def _name(spec: ModelSpec, part: str) -> str:
    return f"model {spec.name!r}, {part}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
