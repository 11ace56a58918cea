"""Which parts of a model a set of tensors is, and by whose names: diffusers', or those of the original programs.

Model sites hand out whole checkpoints as one file, in the names of the program that trained them
(`model.diffusion_model.`, `first_stage_model.`, `cond_stage_model.`). A part alone comes under either. What is no
Stable Diffusion 1.x or 2.x is called by its name, so that nobody has to guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from sigmafarm_common.weights.header import Shape


class Naming(Enum):
    """Whose names the tensors have."""

    #: diffusers' and transformers', as save_pretrained writes them; old ones among them.
    DIFFUSERS = auto()
    #: Those of the original programs: CompVis' and Stability's, OpenAI's CLIP by transformers' names.
    ORIGINAL = auto()
    #: Those of OpenCLIP, which is the text encoder of Stable Diffusion 2.x.
    OPEN_CLIP = auto()


@dataclass(frozen=True)
class Found:
    """A part among the tensors: what its names begin with, and whose they are."""

    prefix: str
    naming: Naming


#: For each part: beginnings of its names, the tensor behind them that gives it away, whose names they are.
_SIGNS: Mapping[str, tuple[tuple[str, str, Naming], ...]] = {
    "unet": (
        ("model.diffusion_model.", "input_blocks.0.0.weight", Naming.ORIGINAL),
        ("", "input_blocks.0.0.weight", Naming.ORIGINAL),
        ("", "time_embedding.linear_1.weight", Naming.DIFFUSERS),
        ("unet.", "time_embedding.linear_1.weight", Naming.DIFFUSERS),
    ),
    "vae": (
        ("first_stage_model.", "decoder.mid.block_1.conv1.weight", Naming.ORIGINAL),
        ("vae.", "decoder.mid.block_1.conv1.weight", Naming.ORIGINAL),
        ("", "decoder.mid.block_1.conv1.weight", Naming.ORIGINAL),
        ("", "decoder.mid_block.resnets.0.conv1.weight", Naming.DIFFUSERS),
        ("vae.", "decoder.mid_block.resnets.0.conv1.weight", Naming.DIFFUSERS),
    ),
    "text_encoder": (
        ("cond_stage_model.transformer.text_model.", "embeddings.token_embedding.weight", Naming.ORIGINAL),
        ("cond_stage_model.transformer.", "embeddings.token_embedding.weight", Naming.ORIGINAL),
        ("cond_stage_model.model.", "token_embedding.weight", Naming.OPEN_CLIP),
        ("conditioner.embedders.0.model.", "token_embedding.weight", Naming.OPEN_CLIP),
        ("text_model.", "embeddings.token_embedding.weight", Naming.DIFFUSERS),
        ("", "embeddings.token_embedding.weight", Naming.DIFFUSERS),
        ("text_encoder.text_model.", "embeddings.token_embedding.weight", Naming.DIFFUSERS),
        ("text_encoder.", "embeddings.token_embedding.weight", Naming.DIFFUSERS),
        ("", "token_embedding.weight", Naming.OPEN_CLIP),
    ),
}
_OURS = "this farm draws with 1.x and 2.x"
#: Pieces of names that no part of Stable Diffusion 1.x and 2.x has, and what has them.
_FOREIGN: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("lora_", ".lora.", "hada_w1", "lokr_w1", "oft_blocks"),
        "a LoRA, which changes a checkpoint and is none: name a checkpoint",
    ),
    (
        ("control_model.", "controlnet_cond_embedding"),
        "a ControlNet, which steers a checkpoint and is none: name a checkpoint",
    ),
    (
        ("emb_params", "string_to_param"),
        "a textual inversion, a word for prompts and no checkpoint: name a checkpoint",
    ),
    (("conditioner.embedders.1.", "add_embedding.linear_1"), f"Stable Diffusion XL: {_OURS}"),
    (
        ("joint_blocks.", "double_blocks.", "pos_embed.proj", "img_in."),
        f"of the family of Stable Diffusion 3 or Flux: {_OURS}",
    ),
    (("time_stack", "temporal_transformer", "motion_modules"), f"a model of films: {_OURS}"),
    (("bitsandbytes", ".quant_state", "weight_scale"), "quantised: fetch its float16 or float32 file"),
    (
        ("label_emb.", "class_embedding.linear_1"),
        f"conditioned on a class, a picture or a size beside the prompt (unCLIP, an upscaler, XL): {_OURS}",
    ),
)


def find_parts(shapes: Mapping[str, Shape]) -> Mapping[str, Found]:
    """Return which parts there are, by name (`unet`, `vae`, `text_encoder`)."""
    found: dict[str, Found] = {}
    for part, signs in _SIGNS.items():
        for prefix, sign, naming in signs:
            if prefix + sign in shapes:
                found[part] = Found(prefix, naming)
                break
    return found


def foreign_kind(names: Iterable[str]) -> str | None:
    """Return what a set of tensors is if it is nothing that this farm can draw with, and the cure; else None."""
    names = list(names)
    for pieces, kind in _FOREIGN:
        if any(piece in name for piece in pieces for name in names):
            return kind
    return None
