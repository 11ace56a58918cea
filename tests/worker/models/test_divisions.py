"""A network without its divisions by 1.0 answers what it did, to the bit, by fewer operations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sigmafarm_worker.engine.compiling import CompiledUnet
from sigmafarm_worker.models import Model
from sigmafarm_worker.models.divisions import One, leave_out_divisions, put_back_divisions


class Divisions(TorchDispatchMode):
    """Counts divisions."""

    def __init__(self) -> None:
        super().__init__()
        self.num = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num += func is torch.ops.aten.div.Tensor
        return func(*args, **(kwargs or {}))


def divided(network: nn.Module) -> nn.Module:
    """Return a copy that divides by 1.0 again, as diffusers makes it."""
    network = copy.deepcopy(network)
    put_back_divisions(network)
    return network


@torch.inference_mode()
def answers(model: Model, unet: Any, vae: Any) -> tuple[Tensor, Tensor]:
    """Return what a UNet and a VAE answer."""
    chance = torch.Generator().manual_seed(0)
    side = model.unet.config.sample_size
    x_BCHW = torch.randn(2, 4, side, side, generator=chance)
    emb_BTD = torch.randn(2, 77, model.unet.config.cross_attention_dim, generator=chance)
    noise = unet(x_BCHW, torch.tensor([7, 500]), encoder_hidden_states=emb_BTD, return_dict=False)[0]
    return noise, vae.decode(x_BCHW, return_dict=False)[0]


def test_the_answers_are_the_same_to_the_bit(model: Model):
    unet, vae = divided(model.unet), divided(model.vae)
    with Divisions() as before:
        noise, picture = answers(model, unet, vae)

    num_left_out = leave_out_divisions(unet) + leave_out_divisions(vae)

    with Divisions() as after:
        noise_without, picture_without = answers(model, unet, vae)
    assert torch.equal(noise, noise_without)
    assert torch.equal(picture, picture_without)
    # The VAE's encoder has some too, which did not run.
    assert before.num - after.num == num_left_out - leave_out_divisions(divided(vae.encoder)) > 20


def test_a_loaded_model_has_none(model: Model):
    assert leave_out_divisions(model.unet) == leave_out_divisions(model.vae) == 0


def test_a_factor_that_does_something_stays():
    block = nn.Module()
    block.output_scale_factor = 2.0

    assert leave_out_divisions(block) == 0
    assert block.output_scale_factor == 2.0


def test_a_network_that_is_to_be_compiled_has_them_again_and_is_compiled_in_one_piece(model: Model):
    unet = copy.deepcopy(model.unet)

    compiled = CompiledUnet(unet, lambda network, dynamic: torch.compile(network, backend="eager", fullgraph=True))

    side = model.unet.config.sample_size
    compiled.sizes.add((side, side))
    assert torch.equal(answers(model, compiled, model.vae)[0], answers(model, model.unet, model.vae)[0])


def test_one_tells_what_it_is():
    assert f"{torch.ones(1) / One()} {One()}" == "tensor([1.]) 1.0"


@pytest.fixture(scope="module", autouse=True)
def fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()
