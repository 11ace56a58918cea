"""What a request of AUTOMATIC1111's asks for and this farm does not do: one sentence each, for the answer's Notes.

A client's request names everything that its program knows, most of it switched off: what is off is not spoken of.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sigmafarm_common.validation import shown

#: Fields that would change the picture, what they are, and their values beside the empty ones that change nothing.
FIELDS: Mapping[str, tuple[str, Collection[Any]]] = {
    "enable_hr": ("the second pass in high resolution", ()),
    "restore_faces": ("restoring faces", ()),
    "tiling": ("tiling", ()),
    "styles": ("styles", ()),
    "subseed_strength": ("variation seeds", ()),
    "seed_resize_from_w": ("the noise of another size", (-1,)),
    "seed_resize_from_h": ("the noise of another size", (-1,)),
    "refiner_checkpoint": ("the refiner", ("None",)),
    "s_min_uncond": ("skipping the negative prompt in late steps", ()),
    "s_churn": ("sampler parameters of its own", ()),
    "s_tmin": ("sampler parameters of its own", ()),
    "s_noise": ("sampler parameters of its own", (1, 1.0)),
    "eta": ("an eta of the request", (1, 1.0)),
    "image_cfg_scale": ("guidance by the picture", (1.5,)),
    "initial_noise_multiplier": ("a multiple of the first noise", (1, 1.0)),
    "latent_mask": ("a mask in the latents", ()),
}
#: Options that would change the picture.
OPTIONS: Mapping[str, tuple[str, Collection[Any]]] = {
    "sd_vae": ("another VAE", ("Automatic", "None")),
    "eta_noise_seed_delta": ("a shift of the noise's seed", ()),
    "eta_ancestral": ("an eta of the request", (1, 1.0)),
    "eta_ddim": ("an eta of the request", ()),
    "sd_hypernetwork": ("hypernetworks", ("None",)),
    "randn_source": ("another source of the noise", ("CPU",)),
    "face_restoration_model": ("restoring faces", ("CodeFormer", "GFPGAN", "None")),
    "initial_noise_multiplier": ("a multiple of the first noise", (1, 1.0)),
    "img2img_color_correction": ("matching the colours of the picture", ()),
    "upcast_attn": ("attention in another precision", ()),
    "token_merging_ratio": ("merging tokens", ()),
}
#: Networks that a prompt asks for: `<lora:name:0.8>`.
_NETWORK = re.compile(r"<(lora|lyco|hypernet):[^<>]{1,200}>", re.IGNORECASE)
#: Names of scripts and networks that one sentence lists.
MAX_NAMES = 5


def left_out(said: Mapping[str, Any], options: Mapping[str, Any], prompts: Collection[str]) -> list[str]:
    """Return a sentence for everything that is asked for and not done: by fields, options, scripts and in prompts."""
    found = [*_switched_on(said, FIELDS), *_scripts(said.get("alwayson_scripts")), *_switched_on(options, OPTIONS)]
    return list(dict.fromkeys([*found, *_networks(prompts)]))


def _switched_on(said: Mapping[str, Any], known: Mapping[str, tuple[str, Collection[Any]]]) -> Iterator[str]:
    for name, (what, off) in known.items():
        value = said.get(name)
        if value and value not in off:
            yield f"{what} ({name} {shown(value)}) is not here: left out"


def _scripts(scripts: Any) -> Iterator[str]:
    """Yield a sentence for extensions that were given anything to do."""
    if not isinstance(scripts, Mapping):
        return
    names = [str(name)[:60] for name, about in scripts.items() if not isinstance(about, Mapping) or about.get("args")]
    if names:
        yield f"extensions are not here: {', '.join(names[:MAX_NAMES])} left out"


def _networks(prompts: Collection[str]) -> Iterator[str]:
    tags = list(dict.fromkeys(match[0] for text in prompts for match in _NETWORK.finditer(text)))
    if tags:
        yield f"LoRA and other networks are not here: {', '.join(tags[:MAX_NAMES])} is read as words of the prompt"
