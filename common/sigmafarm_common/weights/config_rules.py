"""What a checkpoint's own files must say, before anything is built from them: key, value and cure for each that is off.

A library that reads a null or a text where it counts on a number raises whatever comes first, somewhere else, or goes
on and draws nonsense. So everything that the loop uses is looked at here, all wrong keys of a file together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sigmafarm_common.validation import shown
from sigmafarm_common.weights.fits import (
    Fits,
    Rule,
    is_count,
    is_list_of,
    is_number,
    is_object,
    is_positive,
    is_text,
    is_whole,
    is_word,
    one_of,
    or_null,
)
from sigmafarm_common.weights.network_rules import MAX_SAMPLE_SIZE as MAX_SAMPLE_SIZE
from sigmafarm_common.weights.network_rules import TEXT_ENCODER, UNET, VAE
from sigmafarm_common.weights.scheduler_rules import SCHEDULER

#: The fewest tokens of a prompt: start, a word, end.
MIN_TOKENS = 3
#: What the classes fill in for keys that are left out, where that is judged beside another key.
_FILLED_IN: Mapping[str, Mapping[str, Any]] = {
    "unet": {"down_block_types": [""] * 4, "up_block_types": [""] * 4, "norm_num_groups": 32},
    "vae": {"down_block_types": [""], "up_block_types": [""], "norm_num_groups": 32},
    "text_encoder": {"num_attention_heads": 8},
    "scheduler": {"beta_start": 0.0001, "beta_end": 0.02, "num_train_timesteps": 1000},
}


def _is_latent_range(value: Any) -> bool:
    figures = ("max_rms", "max_peak", "max_drift")
    return isinstance(value, dict) and all(name in figures and is_positive(each) for name, each in value.items())


def _is_map(value: Any) -> bool:
    """Whether a preview is a map from four channels to three colours; what it leaves out is filled in."""
    if not isinstance(value, dict):
        return False
    row = _is_row_of(is_number, 3)
    return _is_row_of(row, 4)(value.get("latent_rgb_factors", [[0, 0, 0]] * 4)) and row(
        value.get("latent_rgb_bias", [0, 0, 0])
    )


def _is_row_of(fits: Fits, length: int) -> Fits:
    def is_row(value: Any) -> bool:
        return is_list_of(fits)(value) and len(value) == length

    return is_row


def _is_token(value: Any) -> bool:
    return is_word(value) or (isinstance(value, dict) and is_word(value.get("content")))


def _are_tokens(value: Any) -> bool:
    each = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list) and all(_is_token(token) for token in each)


def _are_numbered_tokens(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(str(key).isdecimal() for key in value)
        and all(isinstance(each, dict) and _is_token(each) for each in value.values())
    )


def _is_length(value: Any) -> bool:
    return is_number(value) and value >= MIN_TOKENS and value == int(value)


_TOKEN = Rule(_is_token, "a word, such as <|endoftext|>")
_TOKENS = Rule(or_null(_are_tokens), "a list of words")
_SIDE = Rule(one_of("right", "left"), "right or left")

#: Keys of each part's file that its class, or the loop, counts on.
RULES: Mapping[str, Mapping[str, Rule]] = {
    "unet": UNET,
    "vae": VAE,
    "text_encoder": TEXT_ENCODER,
    "scheduler": SCHEDULER,
    "tokenizer": {
        "model_max_length": Rule(
            _is_length,
            f"a whole number from {MIN_TOKENS} up, mostly 77",
        ),
        "bos_token": _TOKEN,
        "eos_token": _TOKEN,
        "pad_token": _TOKEN,
        "unk_token": Rule(or_null(_is_token), "a word, such as <|endoftext|>"),
        "padding_side": _SIDE,
        "truncation_side": _SIDE,
        "added_tokens_decoder": Rule(_are_numbered_tokens, "an object with a word for each number"),
        "additional_special_tokens": _TOKENS,
        "extra_special_tokens": _TOKENS,
        "model_input_names": Rule(is_list_of(is_text), "a list of input_ids and attention_mask"),
    },
    "own": {
        "defaults": Rule(is_object, "an object with settings of a job"),
        "description": Rule(is_text, "a text"),
        "preview": Rule(
            _is_map, "an object with latent_rgb_factors (four rows of three numbers), latent_rgb_bias (three)"
        ),
        "latent_range": Rule(_is_latent_range, "an object with max_rms, max_peak or max_drift, numbers above 0"),
    },
}


def wrong_keys(part: str, config: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the values of a part's configuration, each with key, value and what it must be."""
    return [*_wrong_values(RULES[part], config), *_wrong_together(part, {**_FILLED_IN.get(part, {}), **config})]


def said(value: Any) -> str:
    """Return a value as its file has it."""
    return "null" if value is None else shown(value)


def _wrong_values(rules: Mapping[str, Rule], config: Mapping[str, Any]) -> Iterator[str]:
    for key, rule in rules.items():
        if key in config:
            if not rule.fits(config[key]):
                yield f"{key} is {said(config[key])}: must be {rule.words}"
        elif rule.is_required:
            yield f"{key} is missing: must be {rule.words}"


def _wrong_together(part: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what fits alone and not beside another key; what its class fills in is there."""
    if part in ("unet", "vae") and is_list_of(is_count)(config.get("block_out_channels")):
        yield from _wrong_levels(config, config["block_out_channels"])
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if part == "text_encoder" and is_count(width) and is_count(heads) and width % heads:  # pyright: ignore
        yield f"num_attention_heads is {heads}: must divide hidden_size ({width})"
    if part == "scheduler":
        yield from _wrong_schedule(config)


def _wrong_levels(config: Mapping[str, Any], channels: list[int]) -> Iterator[str]:
    for key in ("down_block_types", "up_block_types"):
        blocks = config[key]
        if isinstance(blocks, list | tuple) and len(blocks) != len(channels):
            yield f"{key} names {len(blocks)} blocks, block_out_channels {len(channels)}: must be as many"
    for key in ("layers_per_block", "transformer_layers_per_block", "attention_head_dim", "num_attention_heads"):
        each = config.get(key)
        if isinstance(each, list | tuple) and len(each) != len(channels):
            yield f"{key} is {shown(each)}: must be {len(channels)} numbers, as many as block_out_channels, or one"
    yield from _wrong_heads(config, channels)
    groups = config["norm_num_groups"]
    if is_count(groups) and any(c % groups for c in channels):
        yield f"norm_num_groups is {groups}: must divide every one of block_out_channels ({shown(channels)})"


def _wrong_heads(config: Mapping[str, Any], channels: list[int]) -> Iterator[str]:
    """Yield the heads that do not divide the channels of a UNet's level with attention."""
    blocks, heads = config["down_block_types"], config.get("attention_head_dim", 8)
    each = [heads] * len(channels) if is_count(heads) else heads
    if not is_list_of(is_count)(each) or not isinstance(blocks, list | tuple):
        return
    if any("Attn" in str(block) and c % n for block, c, n in zip(blocks, channels, each, strict=False)):
        yield f"attention_head_dim is {shown(heads)}: must divide block_out_channels ({shown(channels)})"


def _wrong_schedule(config: Mapping[str, Any]) -> Iterator[str]:
    start, end, betas = config["beta_start"], config["beta_end"], config.get("trained_betas")
    if is_number(start) and is_number(end) and start > end:
        yield f"beta_start is {start}: must not be above beta_end ({end})"
    num = config["num_train_timesteps"]
    if isinstance(betas, list | tuple) and is_whole(num) and len(betas) != num:
        yield f"trained_betas is {shown(betas)}: must be {num} numbers (num_train_timesteps), not {len(betas)}, or null"
