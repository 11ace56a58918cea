"""What the configuration of a UNet, a VAE and a text encoder must say to be one of Stable Diffusion 1.x or 2.x.

A network is built from the keys that have a rule, and from no other: what else stands in a config.json cannot break it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sigmafarm_common.weights.fits import (
    COUNT,
    MAX_COUNT,
    MAX_LAYERS,
    NEEDED,
    TRUTH,
    TRUTH_OR_NULL,
    Rule,
    either,
    is_count,
    is_fraction,
    is_layer_count,
    is_list_of,
    is_positive,
    is_whole,
    named,
    one_of,
    or_null,
)

#: Latents along a side that a UNet may call its native size: pictures of 2048.
MAX_SAMPLE_SIZE = 256
#: What latents may be multiplied by at most: beyond it a VAE sees nothing but the mean.
MAX_SCALING = 100
#: Kinds of blocks that Stable Diffusion 1.x and 2.x are made of.
DOWN_BLOCKS = ("CrossAttnDownBlock2D", "DownBlock2D", "AttnDownBlock2D")
UP_BLOCKS = ("CrossAttnUpBlock2D", "UpBlock2D", "AttnUpBlock2D")
MID_BLOCKS = ("UNetMidBlock2DCrossAttn", "UNetMidBlock2D", None)
ENCODER_BLOCKS = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D")
DECODER_BLOCKS = ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")
ACTIVATIONS = ("silu", "swish", "mish", "gelu", "relu")


def _is_sample_size(value: object) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(_is_sample_size(side) and is_count(side) for side in value)  # pyright: ignore
    return is_whole(value) and 0 < value <= MAX_SAMPLE_SIZE  # pyright: ignore[reportOperatorIssue]


_CHANNELS = Rule(is_list_of(is_count), "a list of whole numbers above 0, one for each level", is_required=True)
_LAYERS = Rule(
    either(is_layer_count, is_list_of(is_layer_count)), f"a whole number from 1 to {MAX_LAYERS}, or a list of them"
)
_HEADS = Rule(either(is_count, is_list_of(is_count)), "a whole number above 0, or a list of them")
_EPS = Rule(is_fraction, "a number above 0 and below 1, mostly 0.00001")
_ACTIVATION = Rule(one_of(*ACTIVATIONS), "silu, as in Stable Diffusion 1.x and 2.x")
_KERNEL = Rule(one_of(1, 3, 5, 7), "3, as in Stable Diffusion 1.x and 2.x")
_LEFT_OUT = Rule(one_of(None), "null: no Stable Diffusion 1.x or 2.x has it")
_FALSE = Rule(one_of(False, None), "false: no Stable Diffusion 1.x or 2.x has it true")
_FACTOR = Rule(is_positive, "a number above 0, mostly 1")


def _is_scaling(value: Any) -> bool:
    return is_positive(value) and value <= MAX_SCALING


def _is_place_count(value: Any) -> bool:
    return is_count(value) and value >= 3


def _is_number_of_a_word(value: Any) -> bool:
    return is_whole(value) and value >= 0


UNET: Mapping[str, Rule] = {
    "sample_size": Rule(
        _is_sample_size,
        f"a whole number from 1 to {MAX_SAMPLE_SIZE}, the latents along a side (64 for most of Stable Diffusion "
        "1.x), or two of them",
        is_required=True,
    ),
    "in_channels": COUNT,
    "out_channels": COUNT,
    "block_out_channels": _CHANNELS,
    "layers_per_block": _LAYERS,
    "cross_attention_dim": NEEDED,
    "attention_head_dim": _HEADS,
    "num_attention_heads": Rule(one_of(None), "null: diffusers reads attention_head_dim in its place"),
    "transformer_layers_per_block": _LAYERS,
    "norm_num_groups": COUNT,
    "norm_eps": _EPS,
    "down_block_types": named(DOWN_BLOCKS),
    "up_block_types": named(UP_BLOCKS),
    "mid_block_type": Rule(one_of(*MID_BLOCKS), "UNetMidBlock2DCrossAttn"),
    "use_linear_projection": TRUTH_OR_NULL,
    "upcast_attention": TRUTH_OR_NULL,
    "center_input_sample": _FALSE,
    "act_fn": _ACTIVATION,
    "conv_in_kernel": _KERNEL,
    "conv_out_kernel": _KERNEL,
    "downsample_padding": Rule(one_of(0, 1), "0 or 1, mostly 1"),
    "flip_sin_to_cos": TRUTH,
    "freq_shift": Rule(one_of(0, 1), "0 or 1, mostly 0"),
    "mid_block_scale_factor": _FACTOR,
    "resnet_out_scale_factor": _FACTOR,
    "resnet_time_scale_shift": Rule(one_of("default", "scale_shift"), "default"),
    "resnet_skip_time_act": _FALSE,
    "attention_type": Rule(one_of("default"), "default: no Stable Diffusion 1.x or 2.x has another"),
    "dual_cross_attention": _FALSE,
    "only_cross_attention": Rule(one_of(False), _FALSE.words),
    "mid_block_only_cross_attention": _FALSE,
    "cross_attention_norm": _LEFT_OUT,
    "reverse_transformer_layers_per_block": _LEFT_OUT,
    "time_embedding_type": Rule(one_of("positional"), "positional"),
    "time_embedding_dim": Rule(or_null(is_count), "null, or a whole number above 0"),
    "time_embedding_act_fn": _LEFT_OUT,
    "timestep_post_act": _LEFT_OUT,
}
VAE: Mapping[str, Rule] = {
    "scaling_factor": Rule(
        _is_scaling,
        f"a number above 0 (0.18215 for Stable Diffusion 1.x and 2.x) and up to {MAX_SCALING}",
    ),
    "shift_factor": Rule(one_of(None, 0), "null: 1.x and 2.x shift no latents"),
    "latent_channels": COUNT,
    "in_channels": COUNT,
    "out_channels": COUNT,
    "block_out_channels": _CHANNELS,
    "layers_per_block": Rule(is_layer_count, f"a whole number from 1 to {MAX_LAYERS}"),
    "norm_num_groups": COUNT,
    "down_block_types": named(ENCODER_BLOCKS),
    "up_block_types": named(DECODER_BLOCKS),
    "act_fn": _ACTIVATION,
    "mid_block_add_attention": TRUTH,
    "use_quant_conv": TRUTH,
    "use_post_quant_conv": TRUTH,
}
TEXT_ENCODER: Mapping[str, Rule] = {
    "hidden_size": NEEDED,
    "intermediate_size": COUNT,
    "num_hidden_layers": Rule(is_layer_count, f"a whole number from 1 to {MAX_LAYERS}"),
    "num_attention_heads": COUNT,
    "vocab_size": COUNT,
    "max_position_embeddings": Rule(_is_place_count, f"a whole number from 3 to {MAX_COUNT}, mostly 77"),
    "hidden_act": Rule(one_of("quick_gelu", "gelu"), "quick_gelu (1.x) or gelu (2.x)"),
    "layer_norm_eps": _EPS,
    "use_attention_mask": TRUTH_OR_NULL,
    "pad_token_id": Rule(or_null(_is_number_of_a_word), "null, or the number of a word"),
}
#: Keys of the networks' classes that change no picture here, or that model_fit.py refuses where they are set.
UNUSED: Mapping[str, frozenset[str]] = {
    "unet": frozenset(
        {
            "addition_embed_type",
            "addition_embed_type_num_heads",
            "addition_time_embed_dim",
            "class_embed_type",
            "class_embeddings_concat",
            "dropout",
            "encoder_hid_dim",
            "encoder_hid_dim_type",
            "num_class_embeds",
            "projection_class_embeddings_input_dim",
            "time_cond_proj_dim",
        }
    ),
    "vae": frozenset({"force_upcast", "latents_mean", "latents_std", "sample_size"}),
}


def built_from(part: str, config: Mapping[str, object]) -> dict[str, object]:
    """Return the keys of a network's configuration that it is built from."""
    rules = {"unet": UNET, "vae": VAE, "text_encoder": TEXT_ENCODER}[part]
    return {key: value for key, value in config.items() if key in rules}
