"""The models file: which models the farm serves, where their parts lie, and the settings that each draws best with.

    [models.sd15]
    path = "/models/stable-diffusion-v1-5"          # a diffusers folder, a hub name, or one .safetensors file
    vae = "vae-ft-mse-840000.safetensors"           # any part may come from a place of its own
    description = "Stable Diffusion 1.5"
    aliases = ["dall-e-3", "gpt-image-1"]           # other names of it: many programs know no other
    sampler = "checkpoint"                          # drawn with what its scheduler_config.json names, not with LMS
    defaults = { num_inference_steps = 50, guidance_scale = 7.5, height = 512, width = 512 }

    embeddings = { cat-toy = "embeddings/cat-toy.safetensors" }  # textual inversion: `<cat-toy>` in a prompt

    [models.from-parts]
    tokenizer = "openai/clip-vit-large-patch14"
    text_encoder = "openai/clip-vit-large-patch14"
    unet = { path = "CompVis/stable-diffusion-v1-4", subfolder = "unet" }
    vae = { path = "stabilityai/sd-vae-ft-ema" }
    scheduler = { beta_start = 0.00085, beta_end = 0.012, beta_schedule = "scaled_linear", num_train_timesteps = 1000 }

    [models.anime]
    path = "anime-v3.safetensors"                   # as model sites hand them out
    scheduler = { prediction_type = "v_prediction" }  # where the file does not say it, or says it wrongly

The producer reads it for names and defaults, the worker for the places; neither needs torch for it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from sigmafarm_common.errors import InvalidRequest, InvalidSettings
from sigmafarm_common.records import ModelCard
from sigmafarm_common.settings import MODEL_NAME, Settings
from sigmafarm_common.validation import shown

#: The form of an embedding's name: no space, no comma, and no character that a prompt's syntax has a use for.
EMBEDDING_NAME = r"^[^\s<>()\[\]:,\\]{1,64}$"
#: What names a file, a folder or a repository: something, on one line.
Place = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$")]
#: The parts of a model that may come from places of their own.
PARTS = ("tokenizer", "text_encoder", "unet", "vae")


class PartSource(BaseModel):
    """Where one part lies: a local folder or a hub name, with or without a subfolder, or a .safetensors file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Place
    #: None: the part's own name if that folder exists there, else the place itself.
    subfolder: Place | None = None
    #: Keys that go before those of its config.json, or before what the shapes of a single file say.
    config: Mapping[str, Any] = Field(default_factory=dict)


def _holds_date(value: Any) -> bool:
    """Whether there is a date or a time in what TOML said: JSON, which checkpoints speak, has none."""
    if isinstance(value, Mapping):
        return any(_holds_date(each) for each in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_date(each) for each in value)
    return isinstance(value, date | time)


def _as_source(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


#: Of a scheduler's table, the keys that say where it lies; all others are settings.
_PLACE_KEYS = ("path", "subfolder")
#: What files of weights end in, those that are refused among them.
_FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
Part = Annotated[PartSource, BeforeValidator(_as_source)]


class ModelSpec(BaseModel):
    """One model: a whole checkpoint folder, or parts named apart, or a folder with some parts replaced."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: Annotated[str, Field(pattern=MODEL_NAME)] = "default"
    #: A diffusers-format folder, a hub name or a .safetensors file that holds every part that is not named apart.
    path: Place | None = None
    tokenizer: Part | None = None
    text_encoder: Part | None = None
    unet: Part | None = None
    vae: Part | None = None
    #: Scheduler settings named as in scheduler_config.json; they replace the checkpoint's. With a `path`, or as a text,
    #: the place of others: a folder, a hub name, a .json file, or the checkpoint in one file whose schedule it is.
    scheduler: Annotated[Mapping[str, Any], BeforeValidator(_as_source)] | None = None
    #: "checkpoint": the scheduler that the checkpoint names says which sampler it is drawn with where nobody else does.
    sampler: Literal["checkpoint"] | None = None
    #: Textual inversion: the .safetensors file of each word that prompts may name, `<word>`.
    embeddings: Mapping[Annotated[str, Field(pattern=EMBEDDING_NAME)], Place] = Field(default_factory=dict)
    #: Settings of a job that this model draws best with; they come before the farm's own defaults.
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    description: str = ""
    #: Other names that requests may call it by.
    aliases: tuple[Annotated[str, Field(pattern=MODEL_NAME)], ...] = ()

    @model_validator(mode="after")
    def _has_every_part(self) -> ModelSpec:
        missing = [p for p in PARTS if getattr(self, p) is None]
        if self.path is None and missing:
            raise ValueError(f"model {self.name!r} names no path and lacks {', '.join(missing)}: name one or the other")
        for key in _PLACE_KEYS:
            said = (self.scheduler or {}).get(key, "?")
            if not isinstance(said, str) or not said or not said.isprintable():
                raise ValueError(f"scheduler.{key} of model {self.name!r} is {shown(said)}: must be a text, a place")
        parts = [getattr(self, part) for part in PARTS]
        for said in (self.scheduler, *(part.config for part in parts if part)):
            if _holds_date(said):
                raise ValueError(
                    f"model {self.name!r} says a date or a time ({shown(said)}): must be a number or a text"
                )
        try:
            Settings.parse(self.defaults)
        except InvalidRequest as error:
            raise ValueError(f"defaults of model {self.name!r}: {error}") from None
        return self

    @property
    def scheduler_source(self) -> PartSource | None:
        """Where the scheduler's settings lie, if the models file says so."""
        said = self.scheduler or {}
        return PartSource(path=said["path"], subfolder=said.get("subfolder")) if "path" in said else None

    @property
    def scheduler_settings(self) -> Mapping[str, Any]:
        """Settings of the scheduler that the models file itself says."""
        return {key: value for key, value in (self.scheduler or {}).items() if key not in _PLACE_KEYS}

    def card(self) -> ModelCard:
        """Return what a producer needs to know of it."""
        defaults = Settings.parse(self.defaults).said()
        return ModelCard(name=self.name, defaults=defaults, description=self.description, aliases=self.aliases)


def read_models_file(path: str | Path) -> dict[str, ModelSpec]:
    """Return the models of a TOML file by name, in its order; relative local paths count from the file's folder.

    Raises InvalidSettings, with the file, the place and the cure, for a file that cannot be read or does not fit.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors begin a file with a mark
    except OSError as error:
        raise InvalidSettings(
            f"models file {path} cannot be read: {error.strerror}; check SIGMAFARM_MODELS_FILE"
        ) from None
    except (ValueError, RecursionError) as error:  # the texts that are no TOML, and the numbers that are too long
        raise InvalidSettings(f"models file {path} is no TOML: {error}; {_cure(error)}") from None
    tables: Any = data.pop("models", None)
    if not isinstance(tables, dict) or not tables:
        raise InvalidSettings(f"models file {path} names no model: add a table [models.NAME] with a path")
    if data:
        raise InvalidSettings(
            f"models file {path}: {shown(next(iter(data)))} is no model, for it stands outside [models.NAME]: leave it "
            "out, or begin its name with models."
        )
    specs = {str(name): _spec(path, str(name), table) for name, table in cast(dict[str, Any], tables).items()}
    _check_names(path, specs)
    return specs


def _cure(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "save it as UTF-8"
    if "Unescaped" in str(error):
        return "put a path with backslashes in single quotes"
    return 'put every text in plain quotes, name = "...", and each name into its table once'


def _check_names(file: Path, specs: Mapping[str, ModelSpec]) -> None:
    """Raise InvalidSettings where one name stands for two models."""
    owners = {name: name for name in specs}
    for spec in specs.values():
        for alias in spec.aliases:
            if owners.setdefault(alias, spec.name) != spec.name:
                raise InvalidSettings(
                    f"models file {file}: {alias!r} is a name of {owners[alias]!r} and of {spec.name!r}: leave one out"
                )


def _spec(file: Path, name: str, table: Any) -> ModelSpec:
    if not isinstance(table, dict):
        raise InvalidSettings(f"models file {file}: models.{name} is {shown(table)}: make it a table with a path")
    if rest := _rest_of_name(table):
        raise InvalidSettings(
            f"models file {file}: [models.{name}.{rest}] is a table inside another, for a dot in TOML means that: put "
            f'the name in quotes, [models."{name}.{rest}"]'
        )
    if "name" in table:
        raise InvalidSettings(f"models file {file}, [models.{name}]: name is what stands in brackets: leave it out")
    try:
        spec = ModelSpec.model_validate({**table, "name": name})
    except ValidationError as error:
        found = "; ".join(_sentence(detail) for detail in error.errors(include_url=False))
        raise InvalidSettings(f"models file {file}, [models.{name}]: {found}") from None
    return spec.model_copy(update=_anchored(file.parent, spec))


def _rest_of_name(table: Mapping[str, Any]) -> str:
    """Return what follows the first dot of a model's name that stands without quotes; empty where there is none."""
    for key, value in table.items():
        if key in ModelSpec.model_fields or not isinstance(value, dict):
            continue
        if any(field in value for field in ModelSpec.model_fields):
            return key
        if rest := _rest_of_name(value):
            return f"{key}.{rest}"
    return ""


#: What must stand in the place of something of another type, by pydantic's names.
_WANTED = {
    "string_type": 'a text in quotes, "..."',
    "tuple_type": 'a list, ["..."]',
    "dict_type": "a table, { name = value }",
    "model_type": 'a text in quotes, or a table, { path = "..." }',
}


def _sentence(detail: ErrorDetails) -> str:
    place = ".".join(str(p) for p in detail["loc"])
    if detail["type"] == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        return f"{place} is missing: give one"
    if detail["type"] == "extra_forbidden":
        known = PartSource.model_fields if len(detail["loc"]) > 1 else list(ModelSpec.model_fields)[1:]
        return f"{place} is nothing that can be said here: leave it out, or say one of {', '.join(known)}"
    if wanted := _WANTED.get(detail["type"]):
        return f"{place} is {shown(detail['input'])}: must be {wanted}"
    if detail["type"] == "string_pattern_mismatch" and detail["loc"][0] == "embeddings" and "[key]" in detail["loc"]:
        return f"embeddings names {shown(detail['input'])}: a word without spaces, commas, colons or brackets is wanted"
    if detail["type"] == "string_pattern_mismatch" and detail["loc"][0] not in ("name", "aliases"):
        return f"{place} is {shown(detail['input'])}: must name a place, on one line"
    if detail["type"] == "string_pattern_mismatch":
        return f"{place} is {shown(detail['input'])}: must be letters, digits, dot, dash or underscore, 64 at most"
    return f"{place} is {shown(detail['input'])}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _anchored(folder: Path, spec: ModelSpec) -> dict[str, Any]:
    """Return the spec's places with relative local ones made absolute; what does not exist there is a hub name."""
    changed: dict[str, Any] = {}
    if spec.path is not None:
        changed["path"] = _anchor(folder, spec.path)
    if spec.embeddings:
        changed["embeddings"] = {word: str(os.path.realpath(folder / file)) for word, file in spec.embeddings.items()}
    for part in PARTS:
        source = getattr(spec, part)
        if source is not None:
            changed[part] = source.model_copy(update={"path": _anchor(folder, source.path)})
    if spec.scheduler is not None and "path" in spec.scheduler:
        changed["scheduler"] = {**spec.scheduler, "path": _anchor(folder, spec.scheduler["path"])}
    return changed


def _anchor(folder: Path, place: str) -> str:
    # A file's name that is nothing here is a missing file and no hub name: it is said where it was looked for.
    is_here = os.path.exists(folder / place) or ("/" not in place and Path(place).suffix.lower() in _FILE_SUFFIXES)
    return str((folder / place).absolute()) if is_here else place
