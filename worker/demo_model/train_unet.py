"""Stage 2: UNet and text encoder together, on cached latents.

Key: B pictures, h w latent size, T tokens, D text width; sigma the noise level, snr = 1 / sigma^2.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import Tensor, nn

from demo_model.captions import training_caption
from demo_model.latents import Bucket, load_or_make
from demo_model.networks import NUM_POSITIONS, build_text_encoder, build_unet
from demo_model.parallel import Member
from demo_model.tokenizer import load_tokenizer
from demo_model.trainer import Budget, Rate, Trainer

RATE = Rate(peak=1.2e-3, final=1e-5, ema_decay=0.999)
#: Stable Diffusion 1.x's noise schedule.
NUM_TIMESTEPS, BETA_START, BETA_END = 1000, 0.00085, 0.012
#: Part of the captions that are dropped, so that guidance has something to lead away from.
EMPTY = 0.1
#: min-SNR weighting's limit (Hang et al. 2023).
SNR_LIMIT = 5.0
#: Until this part of the budget mostly small pictures: words and colours are learnt there at a quarter of the price.
SMALL_UNTIL = 0.2
#: Latent positions of one process in one step.
POSITIONS_PER_STEP = 10 * 256


def sigmas() -> Tensor:
    """Give the noise level of each of the 1000 timesteps, rising."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, NUM_TIMESTEPS, dtype=torch.float64) ** 2
    alphas = (1 - betas).cumprod(0)
    return ((1 - alphas) / alphas).sqrt().float()


def choose_size(fraction: float, rng: random.Random, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Choose the picture size of a step: 64 px at first, then mostly 128 px and some of every size."""
    draw = rng.random()
    if fraction < SMALL_UNTIL:
        return (64, 64) if draw < 0.85 else (128, 128)
    if draw < 0.86:
        return (128, 128)
    return (64, 64) if draw < 0.9 else rng.choice(sizes)


def choose_timesteps(count: int) -> Tensor:
    """Half of them even, half leaning to high noise, where the layout is decided."""
    u = torch.rand(count)
    leaning = torch.where(torch.rand(count) < 0.5, u, u.sqrt())
    return (leaning * NUM_TIMESTEPS).long().clamp(max=NUM_TIMESTEPS - 1)


class Objective:
    """The loss of one step: predict the noise in latents, told the caption."""

    def __init__(self, member: Member, work: Path, seed: int, unet: nn.Module, text_encoder: nn.Module) -> None:
        self._member, self._seed, self._unet, self._text_encoder = member, seed, unet, text_encoder
        self._tokenizer = load_tokenizer(work / "tokenizer")
        self._buckets: dict[tuple[int, int], Bucket] = load_or_make(member, work, seed)
        self._sigmas = sigmas()

    def __call__(self, step: int, fraction: float) -> Tensor:
        """Give the weighted error of one batch, all of one size."""
        size = choose_size(fraction, random.Random(f"{self._seed} size {step}"), list(self._buckets))
        rng = random.Random(f"{self._seed} unet {self._member.rank} {step}")
        torch.manual_seed(rng.getrandbits(32))
        latents, text = self._batch(self._buckets[size], rng)
        timesteps = choose_timesteps(len(latents))
        sigma = self._sigmas[timesteps][:, None, None, None]
        noise = torch.randn_like(latents)
        noisy = (latents + sigma * noise) / (sigma**2 + 1).sqrt()  # [B, 4, h, w], variance-preserving
        error = (self._unet(noisy, timesteps, text).sample - noise).square()
        weight = (SNR_LIMIT * sigma**2).clamp(max=1) * (1 + sigma)
        return (weight * error).mean()

    def _batch(self, bucket: Bucket, rng: random.Random) -> tuple[Tensor, Tensor]:
        """Give latents [B, 4, h, w] and text embeddings [B, T, D] of random pictures."""
        height, width = bucket.latents.shape[2:]
        count = max(4, min(40, POSITIONS_PER_STEP // (height * width)))
        chosen = [rng.randrange(len(bucket.pictures)) for _ in range(count)]
        texts = ["" if rng.random() < EMPTY else training_caption(bucket.pictures[k], rng) for k in chosen]
        ids = self._tokenizer(texts, padding="max_length", max_length=NUM_POSITIONS, return_tensors="pt").input_ids
        return bucket.latents[chosen], self._text_encoder(ids).last_hidden_state


def train_unet(member: Member, work: Path, seed: int, budget: Budget) -> None:
    """Train and save UNet and text encoder under `work/unet` and `work/text_encoder`."""
    torch.manual_seed(seed)
    unet = build_unet()
    text_encoder = build_text_encoder(len(load_tokenizer(work / "tokenizer")))
    objective = Objective(member, work, seed, unet, text_encoder)
    trainer = Trainer(member, [unet, text_encoder], RATE, budget, work / "unet.pt")
    trainer.run(objective)
    if member.is_first:
        text_encoder.save_pretrained(work / "text_encoder")
        unet.save_pretrained(work / "unet")
