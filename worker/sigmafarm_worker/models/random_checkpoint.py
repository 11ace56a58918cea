"""Writes a Stable Diffusion 1.x checkpoint folder with random weights: the right format, pictures of noise.

`python -m sigmafarm_worker.models.random_checkpoint FOLDER` makes one. Tests, benchmarks and a farm without a trained
model use it. The same arguments give the same bytes: weights come from a fixed seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from sigmafarm_common.weights.scheduler_marks import BASE
from sigmafarm_worker.models.clip_tokenizer import END_TOKEN, NUM_TOKENS, START_TOKEN, clip_words, read_clip_merges

#: Every weight comes from this seed, unless another is named.
WEIGHTS_SEED = 20_260_000


class Size(StrEnum):
    """How large the random model is."""

    #: Under a million parameters; a step of one picture takes milliseconds on one core.
    TINY = "tiny"
    #: Small, and put together as Stable Diffusion 1.x and 2.x are: heads, groups, levels, 2.x's linear projections.
    SMALL_SD15 = "small-sd15"
    SMALL_SD21 = "small-sd21"
    #: The architecture of Stable Diffusion 1.5, 1.07 billion parameters.
    SD15 = "sd15"
    #: That of Stable Diffusion 2.1, 1.29 billion.
    SD21 = "sd21"


@dataclass(frozen=True)
class _Shape:
    """The constructor arguments of the three networks that depend on the size."""

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text: Mapping[str, Any]
    #: What the UNet's last layer is multiplied by, so that the output is about as large as noise.
    out_gain: float = 1.0
    #: Whether it is of the family of 2.x, whose text encoder has another activation and padding.
    is_second: bool = False


_THREE_LEVELS: Mapping[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D",) * 2 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 2,
    "layers_per_block": 2,
    "norm_num_groups": 32,
}
_FOUR_LEVELS: Mapping[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 2,
    "norm_num_groups": 32,
}
_SMALL_VAE: Mapping[str, Any] = {"block_out_channels": (32, 32, 64, 64), "layers_per_block": 1, "norm_num_groups": 32}
_SD_VAE: Mapping[str, Any] = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32}

_SHAPES: Mapping[Size, _Shape] = {
    Size.TINY: _Shape(
        unet={
            "block_out_channels": (32, 64),
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "layers_per_block": 1,
            "attention_head_dim": 4,
            "cross_attention_dim": 32,
            "norm_num_groups": 8,
        },
        vae={"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
        text={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        out_gain=4.0,
    ),
    Size.SMALL_SD15: _Shape(
        unet={**_THREE_LEVELS, "block_out_channels": (32, 32, 64), "attention_head_dim": 8, "cross_attention_dim": 64},
        vae=_SMALL_VAE,
        text={"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 1},
        out_gain=4.0,
    ),
    Size.SMALL_SD21: _Shape(
        unet={
            **_THREE_LEVELS,
            "block_out_channels": (64, 64, 128),
            "attention_head_dim": (1, 1, 2),
            "cross_attention_dim": 128,
            "use_linear_projection": True,
        },
        vae=_SMALL_VAE,
        text={"hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 23, "num_attention_heads": 2},
        out_gain=4.0,
        is_second=True,
    ),
    Size.SD15: _Shape(
        unet={
            **_FOUR_LEVELS,
            "block_out_channels": (320, 640, 1280, 1280),
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
        },
        vae=_SD_VAE,
        text={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    ),
    Size.SD21: _Shape(
        unet={
            **_FOUR_LEVELS,
            "block_out_channels": (320, 640, 1280, 1280),
            "attention_head_dim": (5, 10, 20, 20),
            "cross_attention_dim": 1024,
            "use_linear_projection": True,
        },
        vae=_SD_VAE,
        text={"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16},
        is_second=True,
    ),
}


def make_random_checkpoint(
    folder: str | Path,
    *,
    size: Size | str = Size.TINY,
    sample_size: int = 8,
    prediction_type: str = "epsilon",
    dtype: torch.dtype = torch.float32,
    scheduler: Mapping[str, Any] | None = None,
    seed: int = WEIGHTS_SEED,
    in_channels: int = 4,
    has_clip_words: bool = False,
) -> Path:
    """Write the folder and return its path.

    `sample_size` is the native height and width of the latents (pictures are 8 times as large); `scheduler` adds to, or
    replaces, keys of scheduler_config.json; every weight comes from `seed`; `in_channels` 9 makes an inpainting UNet;
    `has_clip_words` takes CLIP's 49,408 words instead of one for each byte. Parts that exist already are overwritten.
    """
    folder, shape = Path(folder), _SHAPES[Size(size)]
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        num_words = write_tokenizer(
            folder / "tokenizer",
            pad="!" if shape.is_second else END_TOKEN,
            merges=read_clip_merges() if has_clip_words else (),
        )
        parts = {
            "unet": _make_unet(shape, sample_size, in_channels),
            "vae": _make_vae(shape, sample_size),
            "text_encoder": _make_text_encoder(shape, num_words),
        }
    for name, part in parts.items():
        _cast(part, dtype).save_pretrained(folder / name)
    _write_scheduler(folder / "scheduler", Size(size), {"prediction_type": prediction_type, **(scheduler or {})})
    _write_json(folder / "model_index.json", _MODEL_INDEX)
    _write_json(folder / "sigmafarm.json", _OWN_SETTINGS)
    return folder


_MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "LMSDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
#: No range of latents: a random UNet removes no noise, and draws no picture that could be blotches.
_OWN_SETTINGS = {"description": "random weights: draws noise"}


def _write_scheduler(folder: Path, size: Size, said: Mapping[str, Any]) -> None:
    """Write what the family's own folders say; the tiny model's is that of LMS."""
    if size is not Size.TINY:
        folder.mkdir(exist_ok=True)
        _write_json(folder / "scheduler_config.json", {**BASE, **said})
        return
    base: dict[str, Any] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "steps_offset": 1,
    }
    LMSDiscreteScheduler(**{**base, **said}).save_pretrained(folder)


def _cast(part: torch.nn.Module, dtype: torch.dtype) -> Any:
    """Change the weights' type. Not by `to`, which warns of parts that must stay float32; these have none."""
    for tensor in part.parameters():
        tensor.data = tensor.data.to(dtype)
    return part


def _make_unet(shape: _Shape, sample_size: int, in_channels: int) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(sample_size=sample_size, in_channels=in_channels, out_channels=4, **shape.unet)
    with torch.no_grad():
        unet.conv_out.weight.mul_(shape.out_gain)
    return unet


def _make_vae(shape: _Shape, sample_size: int) -> AutoencoderKL:
    levels = len(shape.vae["block_out_channels"])
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
    }
    return AutoencoderKL(sample_size=sample_size * 8, latent_channels=4, scaling_factor=0.18215, **blocks, **shape.vae)


def _make_text_encoder(shape: _Shape, num_words: int) -> CLIPTextModel:
    pad = 0 if shape.is_second else num_words - 1
    ids = {"bos_token_id": num_words - 2, "eos_token_id": num_words - 1, "pad_token_id": pad}
    act = {"hidden_act": "gelu"} if shape.is_second else {}
    config = CLIPTextConfig(vocab_size=num_words, max_position_embeddings=NUM_TOKENS, **ids, **act, **shape.text)
    return CLIPTextModel(config)


def write_tokenizer(folder: Path, *, pad: str = END_TOKEN, merges: Sequence[str] = ()) -> int:
    """Write a byte-level tokenizer in CLIP's form, every byte a word, and return the number of its words. Each of
    `merges`, two words with a blank between, is one more."""
    folder.mkdir(parents=True, exist_ok=True)
    words = clip_words(merges)
    _write_json(folder / "vocab.json", {word: index for index, word in enumerate(words)})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": NUM_TOKENS, "bos_token": START_TOKEN}
    settings |= {"eos_token": END_TOKEN, "pad_token": pad, "unk_token": END_TOKEN}
    _write_json(folder / "tokenizer_config.json", settings)
    return len(words)


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m sigmafarm_worker.models.random_checkpoint", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=list(Size), default=Size.TINY)
    parser.add_argument(
        "--sample-size", type=int, default=None, help="latent height and width; 64 for sd15 and sd21, else 8"
    )
    parser.add_argument("--prediction-type", choices=["epsilon", "v_prediction", "sample"], default="epsilon")
    args = parser.parse_args(argv)
    sample_size = args.sample_size or (64 if args.size in (Size.SD15, Size.SD21) else 8)
    make_random_checkpoint(args.folder, size=args.size, sample_size=sample_size, prediction_type=args.prediction_type)


if __name__ == "__main__":
    main()
