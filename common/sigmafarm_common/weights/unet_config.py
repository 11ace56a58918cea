"""What a UNet's config.json would say, from the shapes of its tensors.

Two things no shape shows, and the families settle them: Stable Diffusion 1.x has eight heads in every block, 2.x heads
that are 64 wide. 2.x is known by the linear layers around its attention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.weights.content import Naming
from sigmafarm_common.weights.header import Shape

#: Channels of a latent in Stable Diffusion 1.x and 2.x.
LATENT_CHANNELS = 4
#: Heads of every block of Stable Diffusion 1.x, and the width of one of 2.x.
NUM_HEADS, HEAD_WIDTH = 8, 64
#: Latents along a side of the pictures that each was trained on; 2.x with v prediction on larger ones.
SAMPLE_SIZE, LARGE_SAMPLE_SIZE = 64, 96
#: A transformer's layers inside a block, and the width of the text that it attends to.
_INNER = re.compile(r"transformer_blocks\.(\d+)\.")
_TEXT = "attn2.to_k.weight"


class _Level(NamedTuple):
    """The blocks of one resolution on the way down."""

    channels: int
    num_resnets: int
    #: Layers of its transformers; 0 where it has none.
    depth: int


def infer_unet_config(shapes: Mapping[str, Shape], naming: Naming) -> dict[str, Any]:
    """Return the configuration of a UNet whose tensors have these names (without a prefix) and shapes.

    Raises ModelNotLoadable, with the tensor that is missing or does not fit.
    """
    try:
        levels = list((_original_levels if naming is Naming.ORIGINAL else _diffusers_levels)(shapes))
        first, last = _ends(shapes, naming)
        text_width = next(shape[-1] for name, shape in shapes.items() if name.endswith(_TEXT))
        return _config(shapes, levels, first, last, text_width)
    except KeyError as error:
        raise ModelNotLoadable(f"tensor {error.args[0]} is missing: fetch the file again") from None
    except (StopIteration, IndexError):
        raise ModelNotLoadable(
            f"no tensor ends in {_TEXT}: it is no UNet that follows a prompt; name a Stable Diffusion checkpoint"
        ) from None


def _config(
    shapes: Mapping[str, Shape], levels: list[_Level], first: Shape, last: Shape, text_width: int
) -> dict[str, Any]:
    num_resnets, depths = {level.num_resnets for level in levels}, {level.depth for level in levels if level.depth}
    if len(num_resnets) != 1 or len(depths) != 1:
        raise ModelNotLoadable(
            f"its levels have {[level.num_resnets for level in levels]} blocks of {[level.depth for level in levels]} "
            "layers: no Stable Diffusion 1.x or 2.x is so uneven; name its folder, which has a config.json"
        )
    is_linear = any(name.endswith("proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    channels = [level.channels for level in levels]
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": SAMPLE_SIZE,
        "in_channels": first[1],
        "out_channels": last[0],
        "block_out_channels": channels,
        "layers_per_block": num_resnets.pop(),
        "down_block_types": ["CrossAttnDownBlock2D" if level.depth else "DownBlock2D" for level in levels],
        "up_block_types": ["CrossAttnUpBlock2D" if level.depth else "UpBlock2D" for level in reversed(levels)],
        "transformer_layers_per_block": depths.pop(),
        "cross_attention_dim": text_width,
        "use_linear_projection": is_linear,
        "attention_head_dim": [max(1, c // HEAD_WIDTH) for c in channels] if is_linear else NUM_HEADS,
    }


def _ends(shapes: Mapping[str, Shape], naming: Naming) -> tuple[Shape, Shape]:
    if naming is Naming.ORIGINAL:
        return shapes["input_blocks.0.0.weight"], shapes["out.2.weight"]
    return shapes["conv_in.weight"], shapes["conv_out.weight"]


def _original_levels(shapes: Mapping[str, Shape]) -> Iterator[_Level]:
    """Yield the levels of `input_blocks.N`: block 0 takes the latents in, and an `op` ends a level."""
    num = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("input_blocks."))
    channels = num_resnets = depth = 0
    for i in range(1, num):
        if f"input_blocks.{i}.0.op.weight" in shapes:
            yield _Level(channels, num_resnets, depth)
            num_resnets = depth = 0
            continue
        channels = shapes[f"input_blocks.{i}.0.out_layers.3.weight"][0]
        num_resnets += 1
        depth = max(depth, _depth(shapes, f"input_blocks.{i}.1."))
    yield _Level(channels, num_resnets, depth)


def _diffusers_levels(shapes: Mapping[str, Shape]) -> Iterator[_Level]:
    num = 1 + max((int(name.split(".")[1]) for name in shapes if name.startswith("down_blocks.")), default=0)
    for i in range(num):
        resnets = {name.split(".")[3] for name in shapes if name.startswith(f"down_blocks.{i}.resnets.")}
        channels = shapes[f"down_blocks.{i}.resnets.0.conv2.weight"][0]
        yield _Level(channels, len(resnets), _depth(shapes, f"down_blocks.{i}.attentions.0."))


def _depth(shapes: Mapping[str, Shape], prefix: str) -> int:
    found = [_INNER.search(name) for name in shapes if name.startswith(prefix)]
    return len({match.group(1) for match in found if match})
