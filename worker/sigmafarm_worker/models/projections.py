"""Projections of attention that read the same tensor are one product: queries, keys and values of self-attention, keys
and values of the text. On a GPU the tensor is read once instead of three times, by fewer and larger kernels; the
numbers are the same up to rounding. diffusers knows how; here the parts stay as views of the whole, so that nothing is
kept twice."""

from __future__ import annotations

from typing import Any, cast

from diffusers.models.attention_processor import Attention, AttnProcessor2_0, FusedAttnProcessor2_0
from torch import nn

#: What an attention calls its projections.
QKV = ("to_q", "to_k", "to_v")


def fuse_projections(network: nn.Module) -> int:
    """Fuse what can be fused in a network that is on its device already. Return in how many attentions it did."""
    num = 0
    for module in network.modules():
        if isinstance(module, Attention) and _can_be_fused(module):
            module.fuse_projections()
            names, fused = (("to_k", "to_v"), "to_kv") if module.is_cross_attention else (QKV, "to_qkv")
            _share(getattr(module, fused), [getattr(module, name) for name in names])
            cast(Any, module).set_processor(FusedAttnProcessor2_0())
            num += 1
    return num


def _can_be_fused(attention: Any) -> bool:
    """Whether it does what diffusers' fused processor does: the plain kind, with plain layers of one width."""
    layers = [layer for name in QKV if type(layer := getattr(attention, name, None)) is nn.Linear]
    is_plain = type(attention.processor) is AttnProcessor2_0 and getattr(attention, "add_k_proj", None) is None
    if not is_plain or len(layers) < len(QKV):
        return False
    alike = layers[1:] if attention.is_cross_attention else layers
    return len({layer.weight.shape for layer in alike}) == 1


def _share(whole: nn.Linear, parts: list[nn.Linear]) -> None:
    """Let layers be views of the one that holds all their weights."""
    whole.requires_grad_(False)
    for name in ("weight", "bias"):
        tensor = getattr(whole, name)
        if tensor is not None:
            for part, view in zip(parts, tensor.chunk(len(parts)), strict=True):
                setattr(part, name, nn.Parameter(view, requires_grad=False))
