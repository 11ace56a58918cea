"""A UNet whose projections are fused answers what it did, up to rounding, by fewer products; nothing is kept twice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sigmafarm_worker.engine.compiling import CompiledUnet
from sigmafarm_worker.models import Model
from sigmafarm_worker.models.projections import fuse_projections

#: The rounding of float32, over many layers.
ROUNDING = 1e-5
LINEAR = (torch.ops.aten.linear.default, torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


class Products(TorchDispatchMode):
    """Counts linear layers, and matrix products where they are made of those."""

    def __init__(self) -> None:
        super().__init__()
        self.num = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num += func in LINEAR
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def answer(unet: Any, mask_RT: Tensor | None = None, config: Any = None) -> Tensor:
    """Return what a UNet answers; `config` is said for one that is wrapped."""
    chance, config = torch.Generator().manual_seed(0), config or unet.config
    side, width = config.sample_size, config.cross_attention_dim
    x_RCHW, emb_RTD = torch.randn(2, 4, side, side, generator=chance), torch.randn(2, 77, width, generator=chance)
    said = {"encoder_hidden_states": emb_RTD, "encoder_attention_mask": mask_RT, "return_dict": False}
    return unet(x_RCHW, torch.tensor([7, 500]), **said)[0]


def num_bytes(network: nn.Module) -> int:
    """Return the memory of all parameters, what they share counted once."""
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in network.parameters()}
    return sum(storages.values())


@pytest.mark.parametrize("has_mask", [False, True])
def test_the_answer_is_the_same_up_to_rounding_by_fewer_products(model: Model, has_mask: bool):
    mask_RT = torch.arange(77)[None] < torch.tensor([[10], [77]]) if has_mask else None
    unet = copy.deepcopy(model.unet)
    with Products() as before:
        apart = answer(unet, mask_RT)

    attentions = [each for each in unet.modules() if isinstance(each, Attention)]
    assert fuse_projections(unet) == len(attentions) > 0

    with Products() as after:
        fused = answer(unet, mask_RT)
    assert (fused - apart).norm() / apart.norm() < ROUNDING
    # Two fewer where queries go along, one fewer where the text makes the keys and values.
    assert before.num - after.num == sum(1 if each.is_cross_attention else 2 for each in attentions)


@torch.inference_mode()
def test_a_fused_vae_encodes_and_decodes_as_it_did(model: Model):
    vae, chance = copy.deepcopy(model.vae), torch.Generator().manual_seed(0)
    assert fuse_projections(vae) == 2, "one in the encoder, one in the decoder"

    z_BCHW, x_BCHW = torch.randn(2, 4, 8, 8, generator=chance), torch.randn(2, 3, 64, 64, generator=chance)
    decoded, fused = (each.decode(z_BCHW, return_dict=False)[0] for each in (model.vae, vae))
    assert (fused - decoded).norm() / decoded.norm() < ROUNDING
    seen, seen_fused = (each.encode(x_BCHW).latent_dist.mean for each in (model.vae, vae))
    assert (seen_fused - seen).norm() / seen.norm() < ROUNDING


def test_nothing_is_kept_twice_and_the_parts_are_what_they_were(model: Model):
    unet = copy.deepcopy(model.unet)
    before, weights = num_bytes(unet), {name: each.clone() for name, each in unet.state_dict().items()}

    fuse_projections(unet)

    assert num_bytes(unet) == before
    after = unet.state_dict()
    assert all(torch.equal(after[name], each) for name, each in weights.items())
    assert not any(each.requires_grad for each in unet.parameters())


def test_what_is_fused_or_of_another_kind_stays(model: Model):
    unet = copy.deepcopy(model.unet)
    other = next(each for each in unet.modules() if isinstance(each, Attention))
    other.set_processor(AttnProcessor())

    assert fuse_projections(unet) > 0
    assert isinstance(other.processor, AttnProcessor)
    assert fuse_projections(unet) == 0


def test_a_fused_network_is_compiled_in_one_piece(model: Model):
    unet = copy.deepcopy(model.unet)
    fuse_projections(unet)
    fused = answer(unet)

    compiled = CompiledUnet(unet, lambda network, dynamic: torch.compile(network, backend="eager", fullgraph=True))

    compiled.sizes.add((model.unet.config.sample_size,) * 2)
    assert torch.equal(answer(compiled, config=unet.config), fused)
    torch.compiler.reset()
