"""Where the parts of a model lie, and what is known of each before a weight is read: without torch.

A part comes from a folder in diffusers' format, or out of one .safetensors file with several parts or this one alone.
The worker loads what is found here, the doctor and the producer only look, so all of them say the same of a model that
is broken. Every failure is a ModelNotLoadable with the file, the key or tensor, the value and the cure.

A hub name is for whoever calls: `locate` gives the local place of it, or raises NotHere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigmafarm_common.errors import InvalidRequest, ModelNotLoadable
from sigmafarm_common.model_folder import (
    INDEX_FILE,
    OWN_SETTINGS_FILE,
    PICKLES,
    TOKENIZER_CONFIGS,
    WORDS,
    has_words,
    is_hub_name,
    part_folder,
    pickles_in,
)
from sigmafarm_common.models_file import ModelSpec, PartSource
from sigmafarm_common.settings import Settings
from sigmafarm_common.validation import shown
from sigmafarm_common.weights.config_rules import wrong_keys
from sigmafarm_common.weights.content import Found, Naming, find_parts, foreign_kind
from sigmafarm_common.weights.header import FLOATS, Header, not_fetched, read_header
from sigmafarm_common.weights.scheduler_marks import native_sample_size, scheduler_of_file
from sigmafarm_common.weights.told_by_shapes import INFER, wrong_for_weights

#: The parts with weights, each with its class and the stem of its file in a folder.
NETWORKS: Mapping[str, tuple[str, str]] = {
    "unet": ("UNet2DConditionModel", "diffusion_pytorch_model"),
    "vae": ("AutoencoderKL", "diffusion_pytorch_model"),
    "text_encoder": ("CLIPTextModel", "model"),
}
#: Classes of CLIP repositories that carry the text encoder.
_CLIP_CLASSES = ("CLIPTextModel", "CLIPModel", "CLIPTextModelWithProjection", None)
_CLIP_TYPES = ("clip", "clip_text_model")
WEIGHTS_SUFFIX = ".safetensors"

#: Gives the local folder or file of a place. Gets the place and the part that is wanted of it ("" for all).
Locate = Callable[[str, PartSource | None, str], Path]


class NotHere(ModelNotLoadable):
    """A hub name: what it names is not looked at here."""


@dataclass(frozen=True)
class PartFiles:
    """What is known of a UNet, a VAE or a text encoder: its configuration, and where its weights are."""

    part: str
    config: Mapping[str, Any]
    header: Header
    found: Found
    #: Where the weights lie, for messages: the folder, or the file.
    place: Path

    @property
    def is_single_file(self) -> bool:
        """Whether it comes out of a checkpoint in one file, under the names of the original programs."""
        return self.place.is_file() and self.found.naming is not Naming.DIFFUSERS


def local_place(place: str, source: PartSource | None = None, part: str = "") -> Path:
    """Return the folder or file that a place names on this machine. Raises ModelNotLoadable; NotHere for a hub name."""
    del source, part
    try:
        return _looked_at(place)
    except (OSError, ValueError, RuntimeError) as error:  # rights, a name too long, a home that nobody has
        why = getattr(error, "strerror", None) or error
        raise ModelNotLoadable(f"{place} cannot be looked at ({why}): check the path and its rights") from error


def _looked_at(place: str) -> Path:
    path = Path(place).expanduser()
    if path.is_dir():
        if path.name.startswith("models--") and (path / "snapshots").is_dir():
            name = path.name.removeprefix("models--").replace("--", "/")
            raise ModelNotLoadable(
                f"{place} is the hub's own cache folder and holds no model itself: name {name!r}, or the folder below "
                "snapshots/ in it"
            )
        return path
    if path.exists():
        return _checked_file(path)
    if is_hub_name(place):
        raise NotHere(f"{place} is nothing here, each worker fetches it from the hub: download it beforehand")
    what = "file" if path.suffix else "folder"
    raise ModelNotLoadable(f"there is no {what} {place}: check the path in the models file")


def _checked_file(path: Path) -> Path:
    if path.suffix.lower() in PICKLES:
        raise ModelNotLoadable(
            f"{path} is a pickle that could run code when it is read: fetch its safetensors file, or convert it "
            "(load it with torch where you trust it, and save_pretrained with safe_serialization=True)"
        )
    if path.suffix.lower() not in (WEIGHTS_SUFFIX, ".json"):
        raise ModelNotLoadable(f"{path} is a file: name a folder in diffusers' format, or a .safetensors file")
    return path


def find_root(spec: ModelSpec, locate: Locate = local_place) -> Path | None:
    """Return the whole checkpoint, folder or file, or None where every part is named apart."""
    if spec.path is None:
        return None
    place = locate(spec.path, None, "")
    if place.is_dir() and not (place / INDEX_FILE).is_file():
        files = sorted(place.glob(f"*{WEIGHTS_SUFFIX}"))
        cure = f"name the file itself, such as {files[0]}" if files else "name the folder that holds it"
        raise ModelNotLoadable(
            f"{place} is no diffusers checkpoint, it has no model_index.json beside the subfolders tokenizer, "
            f"text_encoder, unet, vae and scheduler: {cure}"
        )
    return place


def find_part(spec: ModelSpec, root: Path | None, part: str, locate: Locate = local_place) -> PartFiles:
    """Return what is known of a network of a model; `root` is find_root's."""
    source: PartSource | None = getattr(spec, part)
    place = _place_of(source, root, locate, part)
    said = source.config if source else {}
    if place.is_file():
        return _part_of_file(spec, part, place, said)
    return _part_of_folder(part, _existing(part_folder(place, source, part)), said)


def find_words(spec: ModelSpec, root: Path | None, locate: Locate = local_place) -> Path | None:
    """Return the folder of a model's tokenizer, or None for a checkpoint in one file: it is read with CLIP's own."""
    place = _place_of(spec.tokenizer, root, locate, "tokenizer")
    if place.is_file():
        return None
    folder = _existing(part_folder(place, spec.tokenizer, "tokenizer"))
    if not has_words(folder):
        raise ModelNotLoadable(f"{folder} lacks vocab.json and merges.txt: fetch the tokenizer's folder again")
    check_words_of(folder)
    return folder


def read_own_settings(root: Path | None) -> Mapping[str, Any]:
    """Return what a checkpoint folder says in its sigmafarm.json, checked; empty where it has none."""
    file = root / OWN_SETTINGS_FILE if root is not None and root.is_dir() else None
    if file is None or not file.is_file():
        return {}
    own = read_json(file)
    if wrong := wrong_keys("own", own):
        raise ModelNotLoadable(f"{file}: {'; '.join(wrong)}")
    try:
        Settings.parse(own.get("defaults", {}))
    except InvalidRequest as error:
        raise ModelNotLoadable(f"{file}: defaults in {OWN_SETTINGS_FILE} do not fit: {error}") from None
    return own


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a checkpoint."""
    raw = _bytes_of(file)
    if what := not_fetched(raw[:64]):
        raise ModelNotLoadable(f"{file} {what}")
    try:
        data = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelNotLoadable(f"{file} is no JSON ({error}): fetch the part again") from error
    if not isinstance(data, dict):
        raise ModelNotLoadable(f"{file} holds no JSON object: fetch the part again")
    return data


def check_words_of(folder: Path) -> None:
    """Refuse a tokenizer's folder of which a file was never fetched, or says what no tokenizer is made from."""
    for file in (folder / name for name in WORDS):
        first = _bytes_of(file, 64) if file.is_file() else b""  # a tokenizer may have no merges
        if first and (what := not_fetched(first)):
            raise ModelNotLoadable(f"{file} {what}")
    for file in (folder / name for name in TOKENIZER_CONFIGS):
        if file.is_file() and (wrong := wrong_keys("tokenizer", read_json(file))):
            raise ModelNotLoadable(f"{file}: {'; '.join(wrong)}")


def _bytes_of(file: Path, size_bytes: int = -1) -> bytes:
    try:
        if file.exists() and not file.is_file() and not file.is_dir():
            raise ModelNotLoadable(f"{file} is a pipe or a device and no file: fetch the part again")
        with file.open("rb") as opened:
            return opened.read(size_bytes)
    except OSError as error:
        raise ModelNotLoadable(f"{file} cannot be read ({error.strerror}): fetch the part again") from error


# Places


def _place_of(source: PartSource | None, root: Path | None, locate: Locate, part: str) -> Path:
    if source is not None:
        return locate(source.path, source, part)
    assert root is not None, "ModelSpec makes sure that a spec without a path names every part"
    return root


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelNotLoadable(f"there is no folder {folder}: add it, or name its place in the models file")
    return folder


# A part in a folder of its own


def _part_of_folder(part: str, folder: Path, said: Mapping[str, Any]) -> PartFiles:
    kind, stem = NETWORKS[part]
    file = folder / "config.json"
    config = _text_config(read_json(file)) | dict(said)
    _check_class(folder, config, part, kind)
    if wrong := wrong_keys(part, config):
        raise ModelNotLoadable(f"{file}: {'; '.join(wrong)}")
    header = read_header(*_weights_of_folder(folder, stem))
    found = _found_in(folder, part, header)
    if wrong := wrong_for_weights(part, config, header.under(found.prefix), found):
        raise ModelNotLoadable(f"{file}: {'; '.join(wrong)}")
    return _checked(PartFiles(part, config, header, found, folder))


def _found_in(folder: Path, part: str, header: Header) -> Found:
    """Return what the weights of a part's own folder are, which must be that part."""
    if kind := foreign_kind(header.shapes):
        raise ModelNotLoadable(f"the weights in {folder} are those of {kind.removeprefix('a ')}")
    parts = find_parts(header.shapes)
    if part not in parts:
        holds = f"only {', '.join(parts)}" if parts else "no part of a Stable Diffusion checkpoint"
        raise ModelNotLoadable(f"the weights in {folder} hold {holds}, not its {part}: fetch the part again")
    return parts[part]


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the text encoder's configuration of a whole CLIP model; any other as it is."""
    inner = config.get("text_config")
    if config.get("model_type") != "clip" or not isinstance(inner, dict):
        return config
    more = config.get("text_config_dict")
    return {**inner, **(more if isinstance(more, dict) else {}), "model_type": "clip_text_model", "architectures": []}


def _check_class(folder: Path, config: Mapping[str, Any], part: str, kind: str) -> None:
    said = config.get("_class_name")
    architectures = config.get("architectures")
    if said is None and isinstance(architectures, list) and architectures:
        said = architectures[0]
    allowed = _CLIP_CLASSES if part == "text_encoder" and config.get("model_type") in _CLIP_TYPES else (kind,)
    if said not in allowed:
        found = said or config.get("model_type") or "part of an unknown class"
        raise ModelNotLoadable(
            f"{folder} holds a {found}, not a {kind}: this farm draws with Stable Diffusion 1.x and 2.x"
        )


def _weights_of_folder(folder: Path, stem: str) -> list[Path]:
    """Return the files of a part's weights: whole or in shards, in full or in half precision."""
    for middle in ("", ".fp16"):
        index = folder / f"{stem}{WEIGHTS_SUFFIX}.index{middle}.json"
        if index.is_file():
            return _shards(index)
        file = folder / f"{stem}{middle}{WEIGHTS_SUFFIX}"
        if file.is_file():
            return [file]
    if unsafe := pickles_in(folder):
        raise ModelNotLoadable(
            f"{folder} has only {unsafe[0]}, a pickle that could run code when it is read: convert it to "
            "safetensors (save_pretrained with safe_serialization=True) or fetch the safetensors file"
        )
    others = [file.name for file in sorted(folder.glob(f"*{WEIGHTS_SUFFIX}"))]
    instead = f" (it has {', '.join(others[:3])}: name one of them as the part's own file)" if others else ""
    raise ModelNotLoadable(f"{folder} has no weights, {stem}.safetensors is missing{instead}: fetch the part again")


def _shards(index: Path) -> list[Path]:
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise ModelNotLoadable(
            f"{index}: weight_map is {shown(named)}: must name a file for each tensor; fetch it again"
        )
    files = [index.parent / Path(name).name for name in sorted(set(named.values()))]
    if missing := [file.name for file in files if not file.is_file()]:
        raise ModelNotLoadable(f"{index.parent} lacks {missing[0]}, which its index names: fetch the part again")
    return files


# A part in a file


def _part_of_file(spec: ModelSpec, part: str, file: Path, said: Mapping[str, Any]) -> PartFiles:
    header = read_header(_checked_file(file))
    parts = find_parts(header.shapes)
    if kind := foreign_kind(header.shapes):
        raise ModelNotLoadable(f"{file} is {kind}")
    if part not in parts:
        holds = f"only {', '.join(parts)}" if parts else "no part of a Stable Diffusion checkpoint"
        raise ModelNotLoadable(f"{file} holds {holds}: name a place for its {part} in the models file ({part} = ...)")
    found = parts[part]
    beside = file.parent / "config.json"
    if found.naming is Naming.DIFFUSERS and not found.prefix.startswith(part) and _is_config_of(beside, part):
        config = _text_config(read_json(beside)) | dict(said)
    else:
        config, beside = inferred_config(spec, part, file, header, found) | dict(said), file
    if wrong := wrong_keys(part, config):
        raise ModelNotLoadable(f"{beside}: {'; '.join(wrong)}")
    return _checked(PartFiles(part, config, header, found, file))


def _is_config_of(file: Path, part: str) -> bool:
    if not file.is_file():
        return False
    said = read_json(file)
    return said.get("_class_name", NETWORKS[part][0] if part == "text_encoder" else None) == NETWORKS[part][0]


def inferred_config(spec: ModelSpec, part: str, file: Path, header: Header, found: Found) -> dict[str, Any]:
    """Return what a config.json would say of a part in a file. Raises ModelNotLoadable."""
    try:
        config = INFER[part](header.under(found.prefix), found.naming)
    except ModelNotLoadable as error:
        raise ModelNotLoadable(f"{file}: {error}") from None
    except (ValueError, IndexError) as error:
        raise ModelNotLoadable(
            f"{file}: names or shapes of its tensors are none of a {part} of Stable Diffusion 1.x, 2.x ({error}):"
            " fetch it again"
        ) from error
    if part == "unet":
        schedule = {**scheduler_of_file(header, found.prefix, config), **spec.scheduler_settings}
        config["sample_size"] = native_sample_size(header, config, schedule)
    return config


def _checked(files: PartFiles) -> PartFiles:
    """Refuse weights of a type that no network is read from here."""
    for name, kind in files.header.types.items():
        # A position is a whole number, and no weight; some files hold further numbers beside the parts.
        is_weight = name.startswith(files.found.prefix) and name.endswith((".weight", ".bias"))
        if is_weight and kind not in FLOATS:
            raise ModelNotLoadable(
                f"{files.header.files[name]}: tensor {name} is {kind}: must be one of {', '.join(FLOATS)}; fetch the "
                "file in float16 or float32"
            )
    return files
