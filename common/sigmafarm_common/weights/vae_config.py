"""What a VAE's config.json would say, from the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.weights.content import Naming
from sigmafarm_common.weights.header import Shape

#: What latents are multiplied by before the UNet sees them, in Stable Diffusion 1.x and 2.x. No shape shows it.
SCALING_FACTOR = 0.18215
#: How the names of a level of the encoder go on: level, block; the last layer of a block; the quantising layer.
_LEVELS: Mapping[Naming, tuple[str, str]] = {
    Naming.ORIGINAL: ("encoder.down.", "block"),
    Naming.DIFFUSERS: ("encoder.down_blocks.", "resnets"),
}


def infer_vae_config(shapes: Mapping[str, Shape], naming: Naming) -> dict[str, Any]:
    """Return the configuration of a VAE whose tensors have these names (without a prefix) and shapes.

    Raises ModelNotLoadable, with the tensor that is missing.
    """
    start, blocks = _LEVELS[naming]
    levels = {int(name.removeprefix(start).split(".")[0]) for name in shapes if name.startswith(start)}
    layers = {
        name.removeprefix(f"{start}0.{blocks}.").split(".")[0]
        for name in shapes
        if name.startswith(f"{start}0.{blocks}.")
    }
    try:
        channels = [shapes[f"{start}{i}.{blocks}.0.conv2.weight"][0] for i in range(max(levels, default=0) + 1)]
        inward, outward = shapes["encoder.conv_in.weight"], shapes["decoder.conv_out.weight"]
        latent_channels = shapes["decoder.conv_in.weight"][1]
    except KeyError as error:
        raise ModelNotLoadable(f"tensor {error.args[0]} is missing: fetch the file again") from None
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": inward[1],
        "out_channels": outward[0],
        "latent_channels": latent_channels,
        "block_out_channels": channels,
        "layers_per_block": len(layers),
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "mid_block_add_attention": any(
            name.startswith(("decoder.mid.attn", "decoder.mid_block.attentions")) for name in shapes
        ),
        "scaling_factor": SCALING_FACTOR,
    }
