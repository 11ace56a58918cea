"""A model: its parts resident on a device, and what is known about it.

`load_model` takes a diffusers-format folder or hub name, or parts that each have a place of their own (checkpoint.py
finds and reads them). Every failure is a ModelNotLoadable with the value and the cure.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from torch import Tensor

from sigmafarm_common.errors import InvalidRequest, InvalidSettings, ModelNotLoadable
from sigmafarm_common.model_folder import OWN_SETTINGS_FILE, SCHEDULER_FILE, sampler_defaults
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.records import ModelCard
from sigmafarm_common.samplers import BY_NAME, sampler_of_scheduler
from sigmafarm_common.settings import Settings
from sigmafarm_worker.bundled import bundled_model_path as bundled_model_path
from sigmafarm_worker.models.checkpoint import (
    checkpoint_folder,
    load_network,
    load_tokenizer,
    read_json,
)
from sigmafarm_worker.models.fingerprint import fingerprint
from sigmafarm_worker.models.finite import is_finite
from sigmafarm_worker.models.inversions import add_vectors, digests, read_vectors
from sigmafarm_worker.models.latent_range import LatentRange
from sigmafarm_worker.models.previews import PreviewMap
from sigmafarm_worker.models.prompts import PromptEncoder
from sigmafarm_worker.sampling.lms import SchedulerSettings

#: Latent channels of Stable Diffusion 1.x and 2.x.
LATENT_CHANNELS = 4
#: UNet settings of other families than Stable Diffusion 1.x and 2.x: each wants an input that the loop does not have.
_FOREIGN_UNET_SETTINGS = ("class_embed_type", "addition_embed_type", "time_cond_proj_dim", "encoder_hid_dim_type")


@dataclass(frozen=True, eq=False)
class Model:
    """The parts of one model, resident on a device, and what is known about it."""

    name: str
    #: UNet2DConditionModel and AutoencoderKL; Any, because diffusers' configs have no static types.
    unet: Any
    vae: Any
    prompts: PromptEncoder
    #: Settings of LMS, named as in scheduler_config.json.
    scheduler: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    #: Settings that a job takes where it says nothing; native size and Karras spacing among them.
    defaults: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    #: How latents become a quick preview: the checkpoint's own map, or Stable Diffusion 1.x's.
    preview: PreviewMap = field(default_factory=lambda: PreviewMap.parse({}))
    #: Where its finished latents lie, as far as that is known: beyond it a picture may be blotches.
    latent_range: LatentRange = field(default_factory=LatentRange)
    #: What it is made of (fingerprint.py); empty for one that was not read from files.
    fingerprint: str = ""

    @property
    def prediction_type(self) -> str:
        return self.scheduler.get("prediction_type", "epsilon")

    @property
    def vae_factor(self) -> int:
        """Pixels per latent along a side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def height(self) -> int:
        """Native picture height in pixels."""
        return self._sample_size[0] * self.vae_factor

    @property
    def width(self) -> int:
        """Native picture width in pixels."""
        return self._sample_size[1] * self.vae_factor

    @property
    def _sample_size(self) -> tuple[int, int]:
        size = self.unet.config.sample_size
        return (size, size) if isinstance(size, int) else tuple(size)

    def card(self) -> ModelCard:
        """Return what a producer needs to know of it."""
        defaults = Settings.parse(self.defaults).said()
        return ModelCard(name=self.name, defaults=defaults, description=self.description, fingerprint=self.fingerprint)

    def decode(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pictures of finished latents, uint8 [B, height, width, 3], and whether all that the VAE answered
        for each is finite, bool [B], both on the model's device."""
        return _decoded(self.vae, x_BCHW, self.dtype)

    def decode_in_float32(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same by a copy of the VAE in float32, made for this call: the resident one stays as it is."""
        return _decoded(copy.deepcopy(self.vae).to(torch.float32), x_BCHW, torch.float32)


@torch.inference_mode()
def _decoded(vae: Any, x_BCHW: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    assert x_BCHW.shape[1] == LATENT_CHANNELS
    scaled_BCHW = (x_BCHW / vae.config.scaling_factor).to(dtype)
    picture_B3HW = vae.decode(scaled_BCHW, return_dict=False)[0].float()
    # NaN has no integer: what is not finite becomes black, and is told by the flag.
    unit_B3HW = (picture_B3HW / 2 + 0.5).nan_to_num(0.0, 0.0, 0.0).clamp(0, 1)
    return unit_B3HW.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1), is_finite(picture_B3HW)


def load_model(
    source: ModelSpec | str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Model:
    """Load a model and make it resident on the device, in `dtype` (fp16 on a GPU, float32 on a CPU unless said).

    `source` is a spec of the models file, or the path or hub name of a whole checkpoint. Raises ModelNotLoadable.
    """
    spec = source if isinstance(source, ModelSpec) else _spec_of_path(source)
    device = torch.device(device)
    dtype = dtype or default_dtype(device)
    root = checkpoint_folder(spec)
    scheduler = _scheduler(spec, root)
    networks = {part: load_network(spec, root, part, dtype) for part in ("unet", "vae", "text_encoder")}
    tokenizer = load_tokenizer(spec, root)
    _check_fit(spec.name, **networks, tokenizer=tokenizer)
    for network in networks.values():
        _make_resident(network, device)
    vectors = _vectors(spec, networks["text_encoder"])
    prompts = PromptEncoder(tokenizer, networks["text_encoder"], add_vectors(networks["text_encoder"], vectors))
    bare = Model(spec.name, networks["unet"], networks["vae"], prompts, scheduler, device, dtype)
    made_of = fingerprint(spec, root, {**tokenizer.get_vocab(), **digests(vectors)}, scheduler)
    return replace(_with_settings(bare, spec, root), fingerprint=made_of)


def _vectors(spec: ModelSpec, text_encoder: Any) -> dict[str, Tensor]:
    """Return what the model's embeddings were learnt to be."""
    room = text_encoder.config.max_position_embeddings - 2
    return read_vectors(f"model {spec.name!r}", spec.embeddings, text_encoder.config.hidden_size, room)


def default_dtype(device: torch.device | str) -> torch.dtype:
    """Return fp16 for a GPU and float32 for a CPU, on which fp16 is slower and coarser."""
    return torch.float32 if torch.device(device).type == "cpu" else torch.float16


def _spec_of_path(path: str | Path) -> ModelSpec:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(path).name).strip("._-")[:64]
    return ModelSpec(name=name or "default", path=str(path))


def _make_resident(network: Any, device: torch.device) -> None:
    network.eval().requires_grad_(False).to(device)
    if device.type == "cuda":
        # fp16 convolutions run on channels-last data; the other layout costs a transposition each.
        network.to(memory_format=torch.channels_last)


def _check_fit(name: str, *, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any) -> None:
    """Refuse parts that load but do not belong together, or that a text to image loop cannot drive."""
    channels, latent_channels = unet.config.in_channels, vae.config.latent_channels
    width, wanted = text_encoder.config.hidden_size, unet.config.cross_attention_dim
    words, known = len(tokenizer), text_encoder.config.vocab_size
    foreign = [key for key in _FOREIGN_UNET_SETTINGS if unet.config.get(key)]
    problems = (
        (channels != LATENT_CHANNELS, f"its UNet takes {channels} channels, not 4 (is it for inpainting or depth?)"),
        (bool(foreign), f"its UNet wants {', '.join(foreign)}: only Stable Diffusion 1.x and 2.x can be drawn with"),
        (latent_channels != LATENT_CHANNELS, f"its VAE has {latent_channels} latent channels, not 4"),
        (width != wanted, f"its text encoder is {width} wide, its UNet wants {wanted}: take both from one checkpoint"),
        (words > known, f"its tokenizer has {words} words, its text encoder {known}: take both from one checkpoint"),
    )
    for is_wrong, problem in problems:
        if is_wrong:
            raise ModelNotLoadable(f"model {name!r}: {problem}")


def _scheduler(spec: ModelSpec, root: Path | None) -> Mapping[str, Any]:
    """Return the scheduler settings: the checkpoint's, then those of the models file."""
    what = f"model {spec.name!r}, scheduler"
    settings: dict[str, Any] = {}
    if root is not None and (root / "scheduler").is_dir():
        settings = dict(read_json(what, root / SCHEDULER_FILE))
        # StableDiffusionPipeline rewrites an offset of 0 in old checkpoints; equal pictures need the same.
        settings["steps_offset"] = 1
    elif spec.scheduler is None:
        raise ModelNotLoadable(f"{what}: no folder holds its settings: give it a scheduler table in the models file")
    settings |= dict(spec.scheduler or {})
    kind = settings.get("_class_name", "LMSDiscreteScheduler")
    sampler = sampler_of_scheduler(settings)
    if kind not in KarrasDiffusionSchedulers.__members__ and sampler is None:
        raise ModelNotLoadable(f"{what}: the checkpoint was made for {kind}, whose noise levels LMS cannot follow")
    if spec.sampler and sampler is None:
        raise ModelNotLoadable(
            f"{what}: the models file leaves the sampler to the checkpoint, but {kind} with its options is none of "
            f"{', '.join(BY_NAME)}: leave `sampler` out, or name one in the model's defaults"
        )
    try:
        SchedulerSettings.parse(settings)
    except (InvalidSettings, TypeError, ValueError) as error:
        raise ModelNotLoadable(f"{what}: {error}") from error
    return settings


def _with_settings(bare: Model, spec: ModelSpec, root: Path | None) -> Model:
    """Add the defaults (the models file's before the checkpoint's own before what the parts imply) and its words."""
    what = f"model {spec.name!r}"
    own: Mapping[str, Any] = {}
    if root is not None and (root / OWN_SETTINGS_FILE).is_file():
        own = read_json(what, root / OWN_SETTINGS_FILE)
    try:
        from_checkpoint = Settings.parse(own.get("defaults", {})).said()
    except InvalidRequest as error:
        raise ModelNotLoadable(f"{what}: defaults in {OWN_SETTINGS_FILE} do not fit: {error}") from error
    try:
        latent_range = LatentRange.parse(own.get("latent_range", {}))
    except ValueError as error:
        raise ModelNotLoadable(f"{what}: {OWN_SETTINGS_FILE}: {error}") from error
    karras = bool(bare.scheduler.get("use_karras_sigmas", False))
    implied = {"height": bare.height, "width": bare.width, "karras_sigmas": karras}
    return replace(
        bare,
        defaults={**implied, **from_checkpoint, **sampler_defaults(spec, bare.scheduler), **spec.defaults},
        description=spec.description or str(own.get("description", "")),
        preview=PreviewMap.parse(own.get("preview", {})),
        latent_range=latent_range,
    )
