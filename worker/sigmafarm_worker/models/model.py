"""A model: its parts resident on a device, and what is known about it.

`load_model` takes a diffusers-format folder, a checkpoint in one file, a hub name, or parts that each have a place of
their own (model_parts.py finds them, load_network.py reads them). Every failure is a ModelNotLoadable that says what,
where and the cure.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sigmafarm_common.errors import InvalidSettings, ModelNotLoadable
from sigmafarm_common.model_card import part_names, sampler_defaults
from sigmafarm_common.model_fit import INPAINTING_CHANNELS, check_fit
from sigmafarm_common.model_parts import (
    NETWORKS,
    PartFiles,
    find_part,
    find_root,
    find_words,
    read_own_settings,
)
from sigmafarm_common.model_schedule import find_scheduler
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.records import ModelCard
from sigmafarm_common.settings import Settings
from sigmafarm_common.weights.unet_config import LATENT_CHANNELS
from sigmafarm_worker.bundled import bundled_model_path as bundled_model_path
from sigmafarm_worker.models.checkpoint import load_tokenizer, locate
from sigmafarm_worker.models.divisions import leave_out_divisions
from sigmafarm_worker.models.fingerprint import Fingerprint
from sigmafarm_worker.models.finite import is_finite
from sigmafarm_worker.models.inversions import add_vectors, digests, read_vectors
from sigmafarm_worker.models.latent_range import LatentRange
from sigmafarm_worker.models.layout import suit_layout
from sigmafarm_worker.models.load_network import load_network
from sigmafarm_worker.models.previews import PreviewMap
from sigmafarm_worker.models.projections import fuse_projections
from sigmafarm_worker.models.prompts import PromptEncoder
from sigmafarm_worker.sampling.lms import SchedulerSettings

#: Latents along the side of the smallest tile that a picture is decoded in.
LEAST_TILE_LATENTS = 32


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
    #: Other names that requests may call it by.
    aliases: tuple[str, ...] = ()
    #: How latents become a quick preview: the checkpoint's own map, or Stable Diffusion 1.x's.
    preview: PreviewMap = field(default_factory=lambda: PreviewMap.parse({}))
    #: Where its finished latents lie, as far as that is known: beyond it a picture may be blotches.
    latent_range: LatentRange = field(default_factory=LatentRange)
    #: What it is made of (fingerprint.py); empty for one that was not read from files.
    fingerprint: str = ""
    #: Where each part comes from, as ModelCard tells it.
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def prediction_type(self) -> str:
        return self.scheduler.get("prediction_type", "epsilon")

    @property
    def num_channels(self) -> int:
        """Channels that its UNet takes."""
        return self.unet.config.in_channels

    @property
    def sees_picture(self) -> bool:
        """Whether its UNet sees what a mask leaves, in channels of its own."""
        return self.num_channels == INPAINTING_CHANNELS

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
        return ModelCard(
            name=self.name,
            defaults=defaults,
            description=self.description,
            aliases=self.aliases,
            fingerprint=self.fingerprint,
            parts=self.parts,
            prediction_type=self.prediction_type,
            is_zero_snr=bool(self.scheduler.get("rescale_betas_zero_snr")),
        )

    def encode(self, x_B3HW: Tensor, noise_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scaled latents float32 [B, 4, H/8, W/8] of pictures from -1 to 1, on the model's device, and
        whether all of each is finite, bool [B]: the mean of the VAE's answer, plus its deviation times the noise."""
        return _encoded(self.vae, x_B3HW, noise_BCHW, self.dtype)

    def encode_in_float32(self, x_B3HW: Tensor, noise_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same by a copy of the VAE in float32, made for this call: the resident one stays as it is."""
        return _encoded(copy.deepcopy(self.vae).to(torch.float32), x_B3HW, noise_BCHW, torch.float32)

    def decode(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pictures of finished latents, uint8 [B, height, width, 3], and whether all that the VAE answered
        for each is finite, bool [B], both on the model's device."""
        return _decoded(self.vae, x_BCHW, self.dtype)

    def can_tile(self, height: int, width: int) -> bool:
        """Whether tiles of a picture of so many pixels are smaller than the whole."""
        return max(height, width) > self._tile_latents * self.vae_factor

    def decode_in_tiles(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same from tiles that overlap by a quarter and are blended there: in the memory of one tile. The
        VAE's norms see a tile each, so that pixels differ a little from those of the whole (diffusers'
        AutoencoderKL.tiled_decode)."""
        self.vae.tile_latent_min_size = self._tile_latents
        self.vae.tile_sample_min_size = self._tile_latents * self.vae_factor
        return _decoded(self.vae, x_BCHW, self.dtype, self.vae.tiled_decode)

    @property
    def _tile_latents(self) -> int:
        """Latents along a tile's side: as the VAE says, which may be next to nothing, and then of 256 pixels or so."""
        return max(self.vae.config.sample_size // self.vae_factor, LEAST_TILE_LATENTS)

    def decode_in_float32(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same by a copy of the VAE in float32, made for this call: the resident one stays as it is."""
        return _decoded(copy.deepcopy(self.vae).to(torch.float32), x_BCHW, torch.float32)


@torch.inference_mode()
def _decoded(
    vae: Any, x_BCHW: Tensor, dtype: torch.dtype, decode: Callable[..., Any] | None = None
) -> tuple[Tensor, Tensor]:
    assert x_BCHW.shape[1] == LATENT_CHANNELS
    scaled_BCHW = (x_BCHW / vae.config.scaling_factor).to(dtype)
    picture_B3HW = (decode or vae.decode)(scaled_BCHW, return_dict=False)[0].float()
    # NaN has no integer: what is not finite becomes black, and is told by the flag.
    unit_B3HW = (picture_B3HW / 2 + 0.5).nan_to_num(0.0, 0.0, 0.0).clamp(0, 1)
    return unit_B3HW.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1), is_finite(picture_B3HW)


@torch.inference_mode()
def _encoded(vae: Any, x_B3HW: Tensor, noise_BCHW: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    assert x_B3HW.shape[1] == 3
    answer = vae.encode(x_B3HW.to(dtype), return_dict=False)[0]
    x_BCHW = (answer.mean.float() + answer.std.float() * noise_BCHW) * vae.config.scaling_factor
    return x_BCHW, is_finite(x_BCHW)


def load_model(
    source: ModelSpec | str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Model:
    """Load a model and make it resident on the device, in `dtype` (fp16 on a GPU, float32 on a CPU unless said).

    `source` is a spec of the models file, or the path or hub name of a whole checkpoint: a folder, or a .safetensors
    file. Raises ModelNotLoadable.
    """
    spec = source if isinstance(source, ModelSpec) else _spec_of_path(source)
    device = with_index(device)
    dtype = dtype or default_dtype(device)
    parts, scheduler, words, own = _found(spec)
    made_of = Fingerprint()
    networks: dict[str, Any] = {}
    for part, files in parts.items():
        with _named(spec, part):
            networks[part] = load_network(files, dtype, made_of.take_weights)
        made_of.take_config(part, _config(networks[part]))
    with _named(spec, "tokenizer"):
        tokenizer = load_tokenizer(words, parts["text_encoder"])
    _check_words(spec, tokenizer, networks["text_encoder"])
    vectors = _vectors(spec, networks["text_encoder"])
    made_of.take_words(tokenizer, digests(vectors))
    made_of.take_scheduler(scheduler)
    for network in networks.values():
        _make_resident(network, device)
    prompts = PromptEncoder(tokenizer, networks["text_encoder"], add_vectors(networks["text_encoder"], vectors))
    bare = Model(spec.name, networks["unet"], networks["vae"], prompts, scheduler, device, dtype)
    return replace(_with_settings(bare, spec, own), fingerprint=str(made_of), parts=part_names(spec))


def _found(spec: ModelSpec) -> tuple[dict[str, PartFiles], Mapping[str, Any], Path | None, Mapping[str, Any]]:
    """Return all that is known before a weight is read: parts, scheduler, the tokenizer's folder, sigmafarm.json."""
    with _named(spec):
        root = find_root(spec, locate)
    parts: dict[str, PartFiles] = {}
    for part in NETWORKS:
        with _named(spec, part):
            parts[part] = find_part(spec, root, part, locate)
    with _named(spec, "tokenizer"):
        words = find_words(spec, root, locate)
    with _named(spec, "scheduler"):
        scheduler = find_scheduler(spec, root, parts["unet"], locate)
        _check_scheduler(scheduler)
    with _named(spec):
        check_fit(parts)
        return parts, scheduler, words, read_own_settings(root)


def find_tokenizer(spec: ModelSpec) -> Any:
    """Return a model's tokenizer alone, without reading a weight. Raises ModelNotLoadable."""
    parts, _, words, _ = _found(spec)
    with _named(spec, "tokenizer"):
        return load_tokenizer(words, parts["text_encoder"])


@contextmanager
def _named(spec: ModelSpec, part: str = "") -> Generator[None]:
    """Put the model's and the part's name before what is wrong with it."""
    try:
        yield
    except ModelNotLoadable as error:
        raise ModelNotLoadable(f"model {spec.name!r}{', ' if part else ''}{part}: {error}") from error


def _config(network: Any) -> Mapping[str, Any]:
    """Return a network's configuration, with what its class fills in and without what the class does not know."""
    config = network.config
    if hasattr(config, "to_dict"):
        return config.to_dict()
    known = inspect.signature(type(network).__init__).parameters
    return {key: value for key, value in config.items() if key in known}


def _vectors(spec: ModelSpec, text_encoder: Any) -> dict[str, Tensor]:
    """Return what the model's embeddings were learnt to be."""
    room = text_encoder.config.max_position_embeddings - 2
    return read_vectors(f"model {spec.name!r}", spec.embeddings, text_encoder.config.hidden_size, room)


def with_index(device: torch.device | str) -> torch.device:
    """Return the device with a number where it is a GPU: "cuda" alone is the first that this process sees. CUDA's own
    calls want a number, and two names of one device would not be equal."""
    device = torch.device(device)
    return torch.device("cuda", 0) if device.type == "cuda" and device.index is None else device  # pyright: ignore[reportUnnecessaryComparison]


def default_dtype(device: torch.device | str) -> torch.dtype:
    """Return fp16 for a GPU and float32 for a CPU, on which fp16 is slower and coarser."""
    return torch.float32 if torch.device(device).type == "cpu" else torch.float16


def _spec_of_path(path: str | Path) -> ModelSpec:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(path).name.removesuffix(".safetensors")).strip("._-")[:64]
    return ModelSpec(name=name or "default", path=str(path))


def _make_resident(network: Any, device: torch.device) -> None:
    network.eval().requires_grad_(False).to(device)
    leave_out_divisions(network)
    suit_layout(network, device)
    if device.type == "cuda":
        fuse_projections(network)


def _check_words(spec: ModelSpec, tokenizer: Any, text_encoder: Any) -> None:
    # Ids may have gaps: the largest counts.
    words, known = (
        max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=0)),
        text_encoder.config.vocab_size,
    )
    if words > known:
        raise ModelNotLoadable(
            f"model {spec.name!r}: its tokenizer has {words} words, its text encoder {known}: take both from one "
            "checkpoint (tokenizer = ... in the models file)"
        )


def _check_scheduler(settings: Mapping[str, Any]) -> None:
    """Refuse noise levels that LMS cannot follow."""
    try:
        SchedulerSettings.parse(settings)
    except (InvalidSettings, TypeError, ValueError) as error:
        raise ModelNotLoadable(str(error)) from error


def _with_settings(bare: Model, spec: ModelSpec, own: Mapping[str, Any]) -> Model:
    """Add the defaults (the models file's before the checkpoint's own before what the parts imply) and its words."""
    from_checkpoint = Settings.parse(own.get("defaults", {})).said()
    karras = bool(bare.scheduler.get("use_karras_sigmas", False))
    implied = {"height": bare.height, "width": bare.width, "karras_sigmas": karras}
    with _named(spec):
        preview = PreviewMap.parse(own.get("preview", {}))
        latent_range = LatentRange.parse(own.get("latent_range", {}))
    return replace(
        bare,
        defaults={**implied, **from_checkpoint, **sampler_defaults(spec, bare.scheduler), **spec.defaults},
        description=spec.description or str(own.get("description", "")),
        aliases=spec.aliases,
        preview=preview,
        latent_range=latent_range,
    )
