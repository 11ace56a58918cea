"""What a model is made of, in a few letters, so that two models under one name can be told apart.

Of every tensor its name (diffusers'), type, shape and a sample of its values count (a fine-tuned checkpoint differs
from its parent in nothing else), of every network its configuration, of the tokenizer its words and its padding, of the
scheduler whatever changes a picture of any sampler. How the files are cut, whether they are one, by whose names the
tensors are called there, and in what precision they are drawn with does not.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import diffusers
import torch
from torch import Tensor

from sigmafarm_common.samplers import SAMPLERS
from sigmafarm_worker.sampling.lms import SchedulerSettings
from sigmafarm_worker.sampling.probe import LINEAR

#: Letters of a fingerprint: one in 2^48 models shares another's.
NUM_LETTERS = 12
#: Bytes of a tensor that count, from its middle.
SAMPLE_BYTES = 512
#: What a network's configuration says that changes no picture in float32: the size that is drawn by default, training,
#: what half precision needs. A text encoder's counts only where it says how its layers compute.
_UNCOUNTED = frozenset({"sample_size", "dropout", "upcast_attention", "force_upcast", "downsample_padding"})
_TEXT_KEYS = ("hidden_act", "num_attention_heads", "layer_norm_eps", "use_attention_mask")


class Fingerprint:
    """Takes a model in, part by part, and says its fingerprint."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}

    def take_weights(self, part: str, tensors: Mapping[str, Tensor]) -> None:
        """Take a network's tensors by diffusers' names, as its files have them."""
        digest = hashlib.sha256()
        for name in sorted(tensors):
            digest.update(hashlib.sha256(_piece(name, tensors[name])).digest())
        self._digests[f"{part} weights"] = digest.digest()

    def take_config(self, part: str, config: Mapping[str, Any]) -> None:
        """Take a network's whole configuration, with what its class filled in."""
        counted = {key: _plain(value) for key, value in config.items() if _counts(part, key)}
        if part == "unet":
            counted["attention_head_dim"] = _each_block(config["attention_head_dim"], config["block_out_channels"])
        self._digests[f"{part} config"] = _canonical(counted)

    def take_words(self, tokenizer: Any, learnt: Mapping[str, str]) -> None:
        """Take a tokenizer's words, what it fills up with, and the digests of those that were learnt."""
        self._digests["words"] = _canonical([tokenizer.get_vocab(), tokenizer.pad_token_id, *sorted(learnt.items())])

    def take_scheduler(self, settings: Mapping[str, Any]) -> None:
        """Take a scheduler_config.json, with what the models file changes of it."""
        self._digests["scheduler"] = _canonical([asdict(SchedulerSettings.parse(settings)), _by_sampler(settings)])

    def __str__(self) -> str:
        return hashlib.sha256(b"".join(self._digests[key] for key in sorted(self._digests))).hexdigest()[:NUM_LETTERS]


def _piece(name: str, tensor: Tensor) -> bytes:
    raw = tensor.reshape(-1).view(torch.uint8) if tensor.numel() else torch.empty(0, dtype=torch.uint8)
    size_bytes = min(SAMPLE_BYTES, raw.numel())
    begin = (raw.numel() - size_bytes) // 2
    sample = raw[begin : begin + size_bytes].numpy().tobytes()
    return json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + sample


def _counts(part: str, key: str) -> bool:
    if part == "text_encoder":
        return key in _TEXT_KEYS
    return not key.startswith("_") and key not in _UNCOUNTED


def _each_block(value: Any, channels: Any) -> list[Any]:
    return [value] * len(channels) if isinstance(value, int) else list(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _by_sampler(settings: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return for each sampler of diffusers the settings that it follows and that are not its class's own defaults."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in sorted({sampler.scheduler for sampler in SAMPLERS if sampler.scheduler}):
        kind: Any = getattr(diffusers, name)
        known = inspect.signature(kind.__init__).parameters
        found[name] = {
            key: _plain(settings[key])
            for key, parameter in known.items()
            if key in settings and key not in LINEAR and settings[key] != parameter.default
        }
    return found


def _canonical(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).digest()
