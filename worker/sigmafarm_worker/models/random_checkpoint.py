"""Writes a Stable Diffusion 1.x checkpoint folder with random weights: the right format, pictures of noise.

`python -m sigmafarm_worker.models.random_checkpoint FOLDER` makes one. Tests, benchmarks and a farm without a trained
model use it. The same arguments give the same bytes: weights come from a fixed seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

#: Every weight comes from this seed, unless another is named.
WEIGHTS_SEED = 20_260_000
#: Tokens of a prompt, as CLIP.
NUM_TOKENS = 77
START_TOKEN, END_TOKEN = "<|startoftext|>", "<|endoftext|>"


class Size(StrEnum):
    """How large the random model is."""

    #: Under a million parameters; a step of one picture takes milliseconds on one core.
    TINY = "tiny"
    #: The architecture of Stable Diffusion 1.5, 1.07 billion parameters.
    SD15 = "sd15"


@dataclass(frozen=True)
class _Shape:
    """The constructor arguments of the three networks that depend on the size."""

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text: Mapping[str, Any]
    #: What the UNet's last layer is multiplied by, so that the output is about as large as noise.
    out_gain: float = 1.0


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
    Size.SD15: _Shape(
        unet={
            "block_out_channels": (320, 640, 1280, 1280),
            "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            "layers_per_block": 2,
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
            "norm_num_groups": 32,
        },
        vae={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32},
        text={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
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
) -> Path:
    """Write the folder and return its path.

    `sample_size` is the native height and width of the latents (pictures are 8 times as large); `scheduler` adds to, or
    replaces, keys of scheduler_config.json; every weight comes from `seed`. Parts that exist already are overwritten.
    """
    folder, shape = Path(folder), _SHAPES[Size(size)]
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        num_words = write_tokenizer(folder / "tokenizer")
        parts = {
            "unet": _make_unet(shape, sample_size),
            "vae": _make_vae(shape, sample_size),
            "text_encoder": _make_text_encoder(shape, num_words),
        }
    for name, part in parts.items():
        _cast(part, dtype).save_pretrained(folder / name)
    settings: dict[str, Any] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "steps_offset": 1,
    }
    settings |= {"prediction_type": prediction_type, **(scheduler or {})}
    LMSDiscreteScheduler(**settings).save_pretrained(folder / "scheduler")
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


def _cast(part: torch.nn.Module, dtype: torch.dtype) -> Any:
    """Change the weights' type. Not by `to`, which warns of parts that must stay float32; these have none."""
    for tensor in part.parameters():
        tensor.data = tensor.data.to(dtype)
    return part


def _make_unet(shape: _Shape, sample_size: int) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(sample_size=sample_size, in_channels=4, out_channels=4, **shape.unet)
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
    ids = {"bos_token_id": num_words - 2, "eos_token_id": num_words - 1, "pad_token_id": num_words - 1}
    config = CLIPTextConfig(vocab_size=num_words, max_position_embeddings=NUM_TOKENS, **ids, **shape.text)
    return CLIPTextModel(config)


def write_tokenizer(folder: Path) -> int:
    """Write a byte-level tokenizer in CLIP's form, every byte a word, and return the number of its words."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = _byte_letters()
    words = letters + [letter + "</w>" for letter in letters] + [START_TOKEN, END_TOKEN]
    _write_json(folder / "vocab.json", {word: index for index, word in enumerate(words)})
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": NUM_TOKENS, "bos_token": START_TOKEN}
    _write_json(
        folder / "tokenizer_config.json", settings | dict.fromkeys(("eos_token", "pad_token", "unk_token"), END_TOKEN)
    )
    return len(words)


def _byte_letters() -> list[str]:
    """Return the character that stands for each byte, in CLIP's order: printable bytes stand for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m sigmafarm_worker.models.random_checkpoint", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=list(Size), default=Size.TINY)
    parser.add_argument(
        "--sample-size", type=int, default=None, help="latent height and width; 8 for tiny, 64 for sd15"
    )
    parser.add_argument("--prediction-type", choices=["epsilon", "v_prediction", "sample"], default="epsilon")
    args = parser.parse_args(argv)
    sample_size = args.sample_size or (8 if args.size == Size.TINY else 64)
    make_random_checkpoint(args.folder, size=args.size, sample_size=sample_size, prediction_type=args.prediction_type)


if __name__ == "__main__":
    main()
