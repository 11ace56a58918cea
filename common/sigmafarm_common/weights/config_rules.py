"""What a checkpoint's own files must say, before anything is built from them: key, value and cure for each that is off.

A library that reads a null or a text where it counts on a number raises whatever comes first, somewhere else, or goes
on and draws nonsense. So everything that the loop uses is looked at here, all wrong keys of a file together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sigmafarm_common.validation import shown

#: Latents along a side that a UNet may call its native size: pictures of 2048.
MAX_SAMPLE_SIZE = 256
#: Steps of training that a schedule may have.
MAX_TRAIN_STEPS = 100_000
#: What the schedulers fill in for beta_start and beta_end.
_DEFAULT_BETAS = (0.0001, 0.02)
#: Kinds of blocks that Stable Diffusion 1.x and 2.x are made of.
DOWN_BLOCKS = ("CrossAttnDownBlock2D", "DownBlock2D", "AttnDownBlock2D")
UP_BLOCKS = ("CrossAttnUpBlock2D", "UpBlock2D", "AttnUpBlock2D")


class Rule(NamedTuple):
    """What one key must be."""

    fits: Callable[[Any], bool]
    #: Goes on after "must be".
    words: str
    #: A key that may be left out takes what its class fills in.
    is_required: bool = False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_latent_range(value: Any) -> bool:
    figures = ("max_rms", "max_peak", "max_drift")
    return isinstance(value, dict) and all(name in figures and _is_positive(each) for name, each in value.items())


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 < value < 1


def _is_many(value: Any) -> bool:
    return _is_count(value) and 1 < value <= MAX_TRAIN_STEPS


def _is_offset(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in (0, 1)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value in values


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and len(value) > 0 and all(fits(each) for each in value)


def _is_sample_size(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(_is_sample_size(side) and _is_count(side) for side in value)
    return _is_count(value) and value <= MAX_SAMPLE_SIZE


def _or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _either(*fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: any(fit(value) for fit in fits)


_COUNTS = _either(_is_count, _is_list_of(_is_count))
_BOOL = Rule(_or_null(lambda value: isinstance(value, bool)), "true or false")
_CHANNELS = Rule(_is_list_of(_is_count), "a list of whole numbers above 0, one for each level", is_required=True)
_LAYERS = Rule(_COUNTS, "a whole number above 0, or a list of them")
_COUNT = Rule(_is_count, "a whole number above 0")
_NEEDED = Rule(_is_count, "a whole number above 0", is_required=True)
_GROUPS = Rule(_or_null(_is_count), "a whole number above 0")


def _blocks(kinds: Sequence[str]) -> Rule:
    return Rule(_is_list_of(lambda kind: kind in kinds), f"a list of {', '.join(kinds)}")


#: Keys of each part's config.json that its class, or the loop, counts on.
RULES: Mapping[str, Mapping[str, Rule]] = {
    "unet": {
        "sample_size": Rule(
            _is_sample_size,
            f"a whole number from 1 to {MAX_SAMPLE_SIZE}, the latents along a side (64 for most of Stable Diffusion "
            "1.x), or two of them",
            is_required=True,
        ),
        "in_channels": _COUNT,
        "out_channels": _COUNT,
        "block_out_channels": _CHANNELS,
        "layers_per_block": _LAYERS,
        "cross_attention_dim": _NEEDED,
        "attention_head_dim": _LAYERS,
        "num_attention_heads": Rule(_or_null(_COUNTS), "a whole number above 0, a list of them, or null"),
        "transformer_layers_per_block": _LAYERS,
        "norm_num_groups": _GROUPS,
        "norm_eps": Rule(_is_positive, "a number above 0"),
        "down_block_types": _blocks(DOWN_BLOCKS),
        "up_block_types": _blocks(UP_BLOCKS),
        "use_linear_projection": _BOOL,
        "upcast_attention": _BOOL,
        "center_input_sample": Rule(_one_of(False, None), "false: no Stable Diffusion has it true"),
    },
    "vae": {
        "scaling_factor": Rule(_is_positive, "a number above 0 (0.18215 for Stable Diffusion 1.x and 2.x)"),
        "shift_factor": Rule(_one_of(None, 0), "null: 1.x and 2.x shift no latents"),
        "latent_channels": _COUNT,
        "in_channels": _COUNT,
        "out_channels": _COUNT,
        "block_out_channels": _CHANNELS,
        "layers_per_block": _COUNT,
        "norm_num_groups": _GROUPS,
    },
    "text_encoder": {
        "hidden_size": _NEEDED,
        "intermediate_size": _COUNT,
        "num_hidden_layers": _COUNT,
        "num_attention_heads": _COUNT,
        "vocab_size": _COUNT,
        "max_position_embeddings": _COUNT,
        "hidden_act": Rule(_one_of("quick_gelu", "gelu"), "quick_gelu (1.x) or gelu (2.x)"),
        "layer_norm_eps": Rule(_is_positive, "a number above 0"),
    },
    "scheduler": {
        "num_train_timesteps": Rule(_is_many, "a whole number above 1, mostly 1000"),
        "beta_start": Rule(_is_fraction, "a number above 0 and below 1, mostly 0.00085"),
        "beta_end": Rule(_is_fraction, "a number above 0 and below 1, mostly 0.012"),
        "beta_schedule": Rule(_is_text, "a word, mostly scaled_linear"),
        "prediction_type": Rule(_is_text, "epsilon, v_prediction or sample"),
        "timestep_spacing": Rule(_is_text, "linspace, leading or trailing"),
        "trained_betas": Rule(_or_null(_is_list_of(_is_fraction)), "null, or a list of numbers between 0 and 1"),
        "steps_offset": Rule(_is_offset, "0 or 1"),
        "rescale_betas_zero_snr": _BOOL,
        "use_karras_sigmas": _BOOL,
    },
    "own": {
        "defaults": Rule(_is_object, "an object with settings of a job"),
        "description": Rule(_is_text, "a text"),
        "preview": Rule(_is_object, "an object with latent_rgb_factors, latent_rgb_bias"),
        "latent_range": Rule(_is_latent_range, "an object with max_rms, max_peak or max_drift, numbers above 0"),
    },
}


def wrong_keys(part: str, config: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the values of a part's configuration, each with key, value and what it must be."""
    return [*_wrong_values(RULES[part], config), *_wrong_together(part, config)]


def _wrong_values(rules: Mapping[str, Rule], config: Mapping[str, Any]) -> Iterator[str]:
    for key, rule in rules.items():
        if key in config:
            if not rule.fits(config[key]):
                said = "null" if config[key] is None else shown(config[key])
                yield f"{key} is {said}: must be {rule.words}"
        elif rule.is_required:
            yield f"{key} is missing: must be {rule.words}"


def _wrong_together(part: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what fits alone and not beside another key."""
    channels = config.get("block_out_channels")
    if part in ("unet", "vae") and _CHANNELS.fits(channels):
        assert channels is not None
        for key in ("down_block_types", "up_block_types"):
            blocks = config.get(key)
            if isinstance(blocks, list | tuple) and len(blocks) != len(channels):
                yield f"{key} names {len(blocks)} blocks, block_out_channels {len(channels)}: must be as many"
        groups = config.get("norm_num_groups")
        if _is_count(groups) and any(c % groups for c in channels):
            yield f"norm_num_groups is {groups}: must divide every one of block_out_channels ({shown(channels)})"
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if part == "text_encoder" and _is_count(width) and _is_count(heads) and width % heads:  # pyright: ignore
        yield f"num_attention_heads is {heads}: must divide hidden_size ({width})"
    start, end = config.get("beta_start", _DEFAULT_BETAS[0]), config.get("beta_end", _DEFAULT_BETAS[1])
    if part == "scheduler" and _is_number(start) and _is_number(end) and start > end:
        yield f"beta_start is {start}: must not be above beta_end ({end})"
