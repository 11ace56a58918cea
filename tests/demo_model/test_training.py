"""What the training stages share: budget, resuming, and whitening that changes nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from diffusers import LMSDiscreteScheduler
from torch import nn

from demo_model.networks import SCALING_FACTOR, build_text_encoder, build_unet, build_vae
from demo_model.parallel import Member
from demo_model.train_unet import choose_timesteps, sigmas
from demo_model.train_vae import encode, whole
from demo_model.trainer import Budget, Rate, Trainer
from demo_model.whiten import whiten

ALONE = Member(rank=0, size=1)
RATE = Rate(peak=0.1, final=0.0, ema_decay=0.9)


def _train(checkpoint: Path, modules: nn.Linear, steps: int, *, planned: int = 40) -> None:
    """Take some of the planned steps, as if killed after them."""

    def loss(step: int, fraction: float) -> torch.Tensor:
        if step == steps:
            raise KeyboardInterrupt
        return (modules(torch.ones(1, 2)) - step % 3).square().mean()

    trainer = Trainer(ALONE, [modules], RATE, Budget(planned), checkpoint)
    try:
        trainer.run(loss)
    except KeyboardInterrupt:
        trainer.save()


def _linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole_run, first_half, second_half = _linear(), _linear(), _linear()

    _train(tmp_path / "whole.pt", whole_run, 40)
    _train(tmp_path / "halves.pt", first_half, 20)
    _train(tmp_path / "halves.pt", second_half, 40)

    assert torch.equal(whole_run.weight, second_half.weight)
    assert not torch.equal(whole_run.weight, first_half.weight)


def test_a_budget_ends_by_steps_or_by_the_clock() -> None:
    budget = Budget(steps=100, minutes=10)

    assert budget.fraction(50, 60) == pytest.approx(0.5)
    assert budget.fraction(10, 300) == pytest.approx(0.5)
    assert budget.fraction(10, 6000) == 1


def test_the_learning_rate_has_decayed_at_the_end_of_the_budget() -> None:
    rate = Rate(peak=1e-3, final=1e-5, ema_decay=0.9)

    assert rate.at(0, 0.0) < 1e-4
    assert rate.at(1000, 0.5) == pytest.approx(5e-4, rel=0.02)
    assert rate.at(1000, 1.0) == pytest.approx(1e-5)


def test_whitening_changes_the_latents_and_not_the_picture() -> None:
    torch.manual_seed(0)
    vae = build_vae().eval()
    pictures = whole(24, 64, random.Random(0))
    with torch.no_grad():
        before = vae.decoder(vae.post_quant_conv(encode(vae, pictures)))

        whiten(vae, pictures)

        latents = vae.encode(pictures).latent_dist.mean
        after = vae.decode(latents).sample
    samples = (latents * SCALING_FACTOR).permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(samples.mean(1), torch.zeros(4), atol=1e-3)
    assert torch.allclose(samples.cov(), torch.eye(4), atol=1e-2)
    assert torch.allclose(before, after, atol=1e-4)


def test_noise_levels_are_those_of_the_scheduler() -> None:
    scheduler = LMSDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

    expected = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()

    assert torch.allclose(sigmas(), expected, rtol=1e-4)


def test_timesteps_cover_the_schedule_and_lean_to_noise() -> None:
    torch.manual_seed(0)

    timesteps = choose_timesteps(10_000)

    assert timesteps.min() >= 0
    assert timesteps.max() == 999
    assert timesteps.float().mean() > 550


def test_the_networks_fit_into_ten_megabytes_at_half_precision() -> None:
    networks = [build_vae(), build_unet(), build_text_encoder(1000)]

    num_parameters = sum(p.numel() for network in networks for p in network.parameters())

    assert 2 * num_parameters < 9_950_000
