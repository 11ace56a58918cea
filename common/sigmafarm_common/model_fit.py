"""Whether the parts of a model belong together, and whether a text to image loop can drive them: without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sigmafarm_common.errors import InvalidRequest, ModelNotLoadable
from sigmafarm_common.model_parts import PartFiles
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.settings import Settings
from sigmafarm_common.validation import shown
from sigmafarm_common.weights.header import read_header
from sigmafarm_common.weights.unet_config import LATENT_CHANNELS

#: Channels that a UNet takes in: the latents alone, or with a mask and a masked picture's latents (inpainting).
INPAINTING_CHANNELS = 9
UNET_CHANNELS = (LATENT_CHANNELS, INPAINTING_CHANNELS)
#: What takes another number of channels.
_OTHER_UNETS: Mapping[int, str] = {
    5: "that of a depth model",
    7: "that of an upscaler",
    8: "that of instruct-pix2pix, which takes a whole picture in",
    16: "that of another family",
}
#: UNet settings of other families than Stable Diffusion 1.x and 2.x: each wants an input that the loop does not have.
_FOREIGN_SETTINGS = (
    "class_embed_type",
    "num_class_embeds",
    "addition_embed_type",
    "time_cond_proj_dim",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
)
#: Pixels of a picture along a side for one latent, of a VAE with this many levels.
_HALF = 2


def check_fit(parts: Mapping[str, PartFiles]) -> None:
    """Refuse parts that do not belong together, or that the loop cannot drive. Raises ModelNotLoadable."""
    problems = list(_problems({part: files.config for part, files in parts.items()}))
    if problems:
        raise ModelNotLoadable("; ".join(f"{parts[part].place}: {problem}" for part, problem in problems))
    native_size_px(parts)


def check_embeddings(spec: ModelSpec) -> None:
    """Refuse files of embeddings that are not there, or are none. Raises ModelNotLoadable."""
    for word, place in spec.embeddings.items():
        try:
            read_header(Path(place))
        except ModelNotLoadable as error:
            raise ModelNotLoadable(f"embedding {word!r}: {error}") from None


def native_size_px(parts: Mapping[str, PartFiles]) -> Mapping[str, int]:
    """Return the height and width of the pictures that a model was trained on. Raises ModelNotLoadable for a size that
    no job may have."""
    size = parts["unet"].config["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    factor = _HALF ** (len(parts["vae"].config["block_out_channels"]) - 1)
    found = {"height": height * factor, "width": width * factor}
    try:
        Settings.parse(found)
    except InvalidRequest as error:
        raise ModelNotLoadable(
            f"{parts['unet'].place}: its sample_size of {size} makes pictures of {found['width']} x {found['height']}: "
            f"{error}; set sample_size in its config.json, or in the models file (unet = {{ path =, config = }})"
        ) from None
    return found


def _problems(configs: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield a part and what is wrong with it."""
    unet, vae, text = configs["unet"], configs["vae"], configs["text_encoder"]
    channels, latent_channels = unet.get("in_channels", LATENT_CHANNELS), vae.get("latent_channels", LATENT_CHANNELS)
    if channels not in UNET_CHANNELS:
        kind = _OTHER_UNETS.get(channels, "that of another family")
        yield (
            "unet",
            f"its UNet takes {channels} channels, not 4 or 9 (it is {kind}): name a text to image or inpainting model",
        )
    if foreign := [key for key in _FOREIGN_SETTINGS if unet.get(key)]:
        told = ", ".join(f"{key} ({shown(unet[key])})" for key in foreign)
        yield "unet", f"its UNet wants {told}: only Stable Diffusion 1.x and 2.x can be drawn with"
    if unet.get("out_channels", LATENT_CHANNELS) != LATENT_CHANNELS:
        yield (
            "unet",
            f"its UNet gives {unet['out_channels']} channels, not 4: name a UNet of Stable Diffusion 1.x or 2.x",
        )
    if latent_channels != LATENT_CHANNELS:
        yield "vae", f"its VAE has {latent_channels} latent channels, not 4: name a VAE of Stable Diffusion 1.x or 2.x"
    width, wanted = text["hidden_size"], unet["cross_attention_dim"]
    if width != wanted:
        yield (
            "text_encoder",
            f"its text encoder is {width} wide, its UNet wants {wanted}: take both from one checkpoint",
        )
