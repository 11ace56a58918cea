"""Loads a model from its places: a diffusers-format folder or hub name, or parts that each have a place of their own.

Only safetensors weights are read and no code of a checkpoint is run. A place that is no local folder but looks like a hub
name (owner/name) is fetched into the hub's cache once; from then on everything is a local folder, and without a network
the cache serves. Every failure is a ModelNotLoadable that says what, where and the cure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from sigmafarm_common.errors import InvalidRequest, InvalidSettings, ModelNotLoadable
from sigmafarm_common.job import ModelCard, Settings
from sigmafarm_common.models_file import ModelSpec, PartSource
from sigmafarm_worker.lms import SchedulerSettings
from sigmafarm_worker.prompts import PromptEncoder

#: Latent channels of Stable Diffusion 1.x and 2.x.
LATENT_CHANNELS = 4
#: Root mean square of finished latents above which a trajectory counts as diverged; the README says how it was measured.
MAX_LATENT_RMS = 4.0
#: What a checkpoint folder may say about itself, beside the diffusers files.
OWN_SETTINGS_FILE = "sigmafarm.json"
#: The form of a hub name.
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
#: What is fetched of a hub repository.
_HUB_FILES = ["*.json", "*.txt", "*.safetensors"]
#: What the loaders of diffusers, transformers and safetensors raise for a damaged or unfit part.
_LOADER_ERRORS = (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError)


@dataclass(frozen=True, eq=False)
class Model:
    """The parts of one model, resident on a device, and what is known about it."""

    name: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    prompts: PromptEncoder
    #: Settings of LMS, named as in scheduler_config.json.
    scheduler: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    #: Native picture size in pixels.
    height: int
    width: int
    #: Settings that a job takes where it says nothing; native size and Karras spacing among them.
    defaults: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    #: How latents become a quick preview, if the checkpoint says it.
    preview: Mapping[str, Any] = field(default_factory=dict)
    #: Finished latents with a larger root mean square are reported as diverged.
    max_latent_rms: float = MAX_LATENT_RMS

    @property
    def prediction_type(self) -> str:
        return self.scheduler.get("prediction_type", "epsilon")

    @property
    def vae_factor(self) -> int:
        """Pixels per latent along a side."""
        return vae_factor(self.vae)

    def card(self) -> ModelCard:
        """Return what a producer needs to know of it."""
        return ModelCard(name=self.name, defaults=Settings.parse(self.defaults).said(), description=self.description)

    @torch.inference_mode()
    def decode(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the pictures of finished latents, uint8 [B, height, width, 3], on the model's device."""
        scaled = (x_BCHW / self.vae.config.scaling_factor).to(self.dtype)
        pixels_B3HW = self.vae.decode(scaled, return_dict=False)[0].float()
        return (pixels_B3HW / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)


def vae_factor(vae: AutoencoderKL) -> int:
    return 2 ** (len(vae.config.block_out_channels) - 1)


def bundled_model_path() -> Path:
    """Return the folder of the model that comes with the package. Raises ModelNotLoadable where it is absent."""
    folder = Path(__file__).parent / "bundled_model"
    if not (folder / "model_index.json").is_file():
        raise ModelNotLoadable(
            f"the bundled model is not in this installation ({folder}): name another model in the models file, or make "
            "a random one with python -m sigmafarm_worker.random_checkpoint FOLDER"
        )
    return folder


def default_dtype(device: torch.device | str) -> torch.dtype:
    """Return fp16 for a GPU and float32 for a CPU, on which fp16 is slower and coarser."""
    return torch.float32 if torch.device(device).type == "cpu" else torch.float16


def load_model(
    source: ModelSpec | str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Model:
    """Load a model and make it resident on the device, in `dtype` (fp16 on a GPU, float32 on a CPU unless said).

    `source` is a spec of the models file, or the path or hub name of a whole checkpoint. Raises ModelNotLoadable.
    """
    spec = source if isinstance(source, ModelSpec) else _spec_of_path(source)
    device = torch.device(device)
    dtype = dtype or default_dtype(device)
    root = _checkpoint_folder(spec)
    with _quiet():
        vae, unet = _load_vae(spec, root, dtype), _load_unet(spec, root, dtype)
        text_encoder, tokenizer = _load_text_encoder(spec, root, dtype), _load_tokenizer(spec, root)
    _check_fit(spec.name, unet, vae, text_encoder, tokenizer)
    for part in (unet, vae, text_encoder):
        part.eval().requires_grad_(False)
        part.to(device)
    if device.type == "cuda":
        unet.to(memory_format=torch.channels_last)
        vae.to(memory_format=torch.channels_last)
    scheduler = _scheduler(spec, root)
    side = unet.config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    model = Model(
        name=spec.name,
        unet=unet,
        vae=vae,
        prompts=PromptEncoder(tokenizer, text_encoder),
        scheduler=scheduler,
        device=device,
        dtype=dtype,
        height=height * vae_factor(vae),
        width=width * vae_factor(vae),
    )
    return _with_own_settings(model, spec, root)


def _spec_of_path(path: str | Path) -> ModelSpec:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(path).name).strip("._-")[:64]
    return ModelSpec(name=name or "default", path=str(path))


# Places


def _checkpoint_folder(spec: ModelSpec) -> Path | None:
    """Return the local folder of the whole checkpoint, or None where every part is named apart."""
    if spec.path is None:
        return None
    folder = _local_folder(spec.path, f"model {spec.name!r}", [f"{p}/{f}" for p in _PART_FOLDERS for f in _HUB_FILES])
    if not (folder / "model_index.json").is_file():
        raise ModelNotLoadable(
            f"model {spec.name!r}: {folder} is no diffusers checkpoint, it has no model_index.json: name the folder that "
            "holds it with the subfolders tokenizer, text_encoder, unet, vae and scheduler"
        )
    return folder


_PART_FOLDERS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")


def _local_folder(place: str, what: str, patterns: list[str]) -> Path:
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelNotLoadable(f"{what}: {place} is a file: name a diffusers-format folder")
    if not _HUB_NAME.match(place):
        raise ModelNotLoadable(f"{what}: there is no folder {place}: check the path in the models file")
    return _fetched(place, what, patterns)


def _fetched(name: str, what: str, patterns: list[str]) -> Path:
    """Return the folder of the hub's cache that holds a repository's files; the network is asked first, if there is one."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    patterns = [*patterns, "model_index.json", OWN_SETTINGS_FILE]
    try:
        # fp16 and non-EMA duplicates of the weights would double what is fetched.
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=["*.fp16.*", "*non_ema*"]))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelNotLoadable(
            f"{what}: {name} is no folder here and could not be fetched from the hub ({first_line}): check the name and "
            "the network, or download it elsewhere and name the folder"
        ) from error


def _part_folder(spec: ModelSpec, root: Path | None, part: str) -> Path:
    """Return where a part lies: its own place if it is named apart, else its subfolder of the checkpoint."""
    source: PartSource | None = getattr(spec, part)
    what = f"model {spec.name!r}, {part}"
    if source is None:
        assert root is not None, "ModelSpec makes sure that a spec without a path names every part"
        return _existing(root / part, what)
    subfolder = source.subfolder
    patterns = (
        [f"{subfolder}/{f}" for f in _HUB_FILES] if subfolder else _HUB_FILES + [f"{part}/{f}" for f in _HUB_FILES]
    )
    folder = _local_folder(source.path, what, patterns)
    if subfolder is not None:
        return _existing(folder / subfolder, what)
    return folder / part if (folder / part).is_dir() else folder


def _existing(folder: Path, what: str) -> Path:
    if not folder.is_dir():
        raise ModelNotLoadable(
            f"{what}: there is no folder {folder}: add the part, or name its place in the models file"
        )
    return folder


# Parts


def _load_unet(spec: ModelSpec, root: Path | None, dtype: torch.dtype) -> UNet2DConditionModel:
    return _load_network(spec, root, "unet", UNet2DConditionModel, "diffusion_pytorch_model", dtype)


def _load_vae(spec: ModelSpec, root: Path | None, dtype: torch.dtype) -> AutoencoderKL:
    return _load_network(spec, root, "vae", AutoencoderKL, "diffusion_pytorch_model", dtype)


def _load_text_encoder(spec: ModelSpec, root: Path | None, dtype: torch.dtype) -> CLIPTextModel:
    return _load_network(spec, root, "text_encoder", CLIPTextModel, "model", dtype)


def _load_network(spec: ModelSpec, root: Path | None, part: str, kind: Any, stem: str, dtype: torch.dtype) -> Any:
    folder = _part_folder(spec, root, part)
    what = f"model {spec.name!r}, {part}"
    _check_class(what, folder, kind)
    variant = _check_weights(what, folder, stem)
    options = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True, "variant": variant}
    with _told(what, folder):
        network, info = kind.from_pretrained(folder, torch_dtype=dtype, **options)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelNotLoadable(
            f"{what}: the weights in {folder} lack {len(missing)} tensors ({missing[0]}, ...): they belong to another "
            "config.json; fetch the part again"
        )
    return network


def _load_tokenizer(spec: ModelSpec, root: Path | None) -> CLIPTokenizer:
    folder = _part_folder(spec, root, "tokenizer")
    what = f"model {spec.name!r}, tokenizer"
    has_words = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    if not has_words and not (folder / "tokenizer.json").is_file():
        raise ModelNotLoadable(f"{what}: {folder} lacks vocab.json and merges.txt: fetch the tokenizer's folder again")
    with _told(what, folder):
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _check_class(what: str, folder: Path, kind: type) -> None:
    config = _read_json(what, folder / "config.json")
    said = config.get("_class_name") or next(iter(config.get("architectures") or []), None)
    # The CLIP repositories carry the text encoder inside the whole CLIPModel.
    allowed = {kind.__name__} | ({"CLIPModel", "CLIPTextModelWithProjection", None} if kind is CLIPTextModel else set())
    is_clip = kind is not CLIPTextModel or config.get("model_type") in ("clip", "clip_text_model")
    if said not in allowed or not is_clip:
        found = said or config.get("model_type")
        raise ModelNotLoadable(
            f"{what}: {folder} holds a {found}, not a {kind.__name__}: this farm draws with Stable Diffusion 1.x and 2.x"
        )


def _check_weights(what: str, folder: Path, stem: str) -> str | None:
    """Return the variant of the safetensors weights in the folder. Raises ModelNotLoadable unless they can be opened."""
    for variant, middle in ((None, ""), ("fp16", ".fp16")):
        if (folder / f"{stem}.safetensors.index{middle}.json").is_file():
            return variant
        file = folder / f"{stem}{middle}.safetensors"
        if file.is_file():
            _check_opens(what, file)
            return variant
    unsafe = [f.name for f in sorted(folder.iterdir()) if f.suffix in (".bin", ".ckpt", ".pt", ".pth")]
    if unsafe:
        raise ModelNotLoadable(
            f"{what}: {folder} has only {unsafe[0]}, a pickle that could run code when it is read: convert it to "
            "safetensors (save_pretrained(..., safe_serialization=True)) or fetch the safetensors file"
        )
    raise ModelNotLoadable(f"{what}: {folder} has no weights, {stem}.safetensors is missing: fetch the part again")


def _check_opens(what: str, file: Path) -> None:
    try:
        with safe_open(file, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise ModelNotLoadable(f"{what}: {file} is damaged ({error}): fetch it again") from error


def _check_fit(name: str, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any) -> None:
    """Refuse parts that load but do not belong together, or that a text to image loop cannot drive."""
    width, wanted = text_encoder.config.hidden_size, unet.config.cross_attention_dim
    extra = [k for k in ("class_embed_type", "addition_embed_type", "time_cond_proj_dim") if unet.config.get(k)]
    problems = [
        (unet.config.in_channels != LATENT_CHANNELS, f"its UNet takes {unet.config.in_channels} channels, not 4 (an inpainting or depth model?)"),
        (bool(extra), f"its UNet wants {', '.join(extra)}, which Stable Diffusion 1.x and 2.x do not have"),
        (vae.config.latent_channels != LATENT_CHANNELS, f"its VAE has {vae.config.latent_channels} latent channels, not 4"),
        (wanted != width, f"its text encoder is {width} wide, its UNet wants {wanted}: take both from one checkpoint"),
        (len(tokenizer) > text_encoder.config.vocab_size, f"its tokenizer has {len(tokenizer)} words, its text encoder {text_encoder.config.vocab_size}"),
    ]  # fmt: skip
    for is_wrong, problem in problems:
        if is_wrong:
            raise ModelNotLoadable(f"model {name!r}: {problem}")


# Settings


def _scheduler(spec: ModelSpec, root: Path | None) -> Mapping[str, Any]:
    """Return the scheduler settings: the checkpoint's, then those of the models file."""
    what = f"model {spec.name!r}, scheduler"
    settings: dict[str, Any] = {}
    if root is not None and (root / "scheduler").is_dir():
        settings = dict(_read_json(what, root / "scheduler" / "scheduler_config.json"))
        # StableDiffusionPipeline rewrites an offset of 0 in old checkpoints; equal pictures need the same.
        settings["steps_offset"] = 1
    elif spec.scheduler is None:
        raise ModelNotLoadable(
            f"{what}: no folder says its settings: give scheduler = {{ beta_start = ... }} in the models file"
        )
    settings |= dict(spec.scheduler or {})
    kind = settings.get("_class_name", "LMSDiscreteScheduler")
    if kind not in KarrasDiffusionSchedulers.__members__:
        raise ModelNotLoadable(f"{what}: the checkpoint was made for {kind}, whose noise levels LMS cannot follow")
    try:
        SchedulerSettings.parse(settings)
    except (InvalidSettings, TypeError, ValueError) as error:
        raise ModelNotLoadable(f"{what}: {error}") from error
    return settings


def _with_own_settings(model: Model, spec: ModelSpec, root: Path | None) -> Model:
    """Add the defaults: the models file's, then the checkpoint's own, then what the parts imply."""
    what = f"model {spec.name!r}"
    own: Mapping[str, Any] = {}
    if root is not None and (root / OWN_SETTINGS_FILE).is_file():
        own = _read_json(what, root / OWN_SETTINGS_FILE)
    try:
        from_checkpoint = Settings.parse(own.get("defaults", {})).said()
    except InvalidRequest as error:
        raise ModelNotLoadable(f"{what}: defaults in {OWN_SETTINGS_FILE} do not fit: {error}") from error
    implied = {"height": model.height, "width": model.width}
    implied["karras_sigmas"] = bool(model.scheduler.get("use_karras_sigmas", False))
    return replace(
        model,
        defaults={**implied, **from_checkpoint, **spec.defaults},
        description=spec.description or str(own.get("description", "")),
        preview=own.get("preview", {}),
        max_latent_rms=float(own.get("max_latent_rms", MAX_LATENT_RMS)),
    )


def _read_json(what: str, file: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelNotLoadable(f"{what}: {file} cannot be read ({error.strerror}): fetch the part again") from error
    except ValueError as error:
        raise ModelNotLoadable(f"{what}: {file} is no JSON ({error}): fetch the part again") from error
    if not isinstance(data, dict):
        raise ModelNotLoadable(f"{what}: {file} holds no JSON object: fetch the part again")
    return data


@contextmanager
def _told(what: str, folder: Path) -> Iterator[None]:
    """Turn a loader's exception into ours, with its first line."""
    try:
        yield
    except _LOADER_ERRORS as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelNotLoadable(f"{what}: {folder} cannot be loaded ({first_line}): fetch the part again") from error


@contextmanager
def _quiet() -> Iterator[None]:
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
