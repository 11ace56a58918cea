"""Stage 1: the VAE, trained on whole pictures and crops drawn anew at every step.

Key: B pictures, C channels, H W picture size, h w latent size.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from demo_model.compose import random_picture
from demo_model.draw import draw
from demo_model.networks import build_vae
from demo_model.parallel import Member
from demo_model.trainer import Budget, Rate, Trainer
from demo_model.whiten import whiten

RATE = Rate(peak=2e-3, final=1e-5, ema_decay=0.998)
#: Part of the budget after which whole pictures of 128 px take the place of crops.
WHOLE_FROM = 0.6
#: Largest standard deviation of the noise that is added to the latents (themselves of variance about 1).
#: It bounds what a latent can say, so that the small errors of the UNet do not show.
LATENT_NOISE = 0.1


def to_tensor(pictures: list[np.ndarray]) -> Tensor:
    """Give uint8 [H, W, 3] pictures as one float32 [B, 3, H, W] from -1 to 1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def crops(count: int, rng: random.Random) -> Tensor:
    """Draw pieces of 64 px: mostly of pictures of 128 px, some of other sizes, some whole pictures of 64 px."""
    pieces = []
    for _ in range(count):
        side = rng.choices([64, 96, 128, 160], [20, 10, 60, 10])[0]
        picture = draw(random_picture(rng), side, side, rng)
        x, y = rng.randint(0, side - 64), rng.randint(0, side - 64)
        pieces.append(picture[y : y + 64, x : x + 64])
    return to_tensor(pieces)


def whole(count: int, side: int, rng: random.Random) -> Tensor:
    """Draw whole square pictures."""
    return to_tensor([draw(random_picture(rng), side, side, rng) for _ in range(count)])


def picture_loss(guess: Tensor, target: Tensor) -> Tensor:
    """Compare pictures by value and by edges; the edges are what a person looks at."""
    difference = guess - target  # [B, 3, H, W]
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    return difference.square().mean() + 0.5 * difference.abs().mean() + 0.5 * edges


def encode(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Give the means of the latents, float32 [B, 4, h, w], before the scaling factor."""
    return vae.quant_conv(vae.encoder(pictures))[:, :4]


def train_vae(member: Member, work: Path, seed: int, budget: Budget) -> None:
    """Train, whiten and save the VAE under `work/vae`."""
    torch.manual_seed(seed)
    vae = build_vae()
    # A throw-away map from the latents to the picture averaged 8x: without it colours are learnt last and wrong.
    to_colors = nn.Conv2d(4, 3, 1)
    trainer = Trainer(member, [vae, to_colors], RATE, budget, work / "vae.pt")

    def loss(step: int, fraction: float) -> Tensor:
        rng = random.Random(f"{seed} vae {member.rank} {step}")
        torch.manual_seed(rng.getrandbits(32))
        target = whole(4, 128, rng) if fraction > WHOLE_FROM and step % 3 else crops(12, rng)
        z = encode(vae, target)
        spread = z.mean((0, 2, 3)).square().mean() + (z.std((0, 2, 3)) - 1).square().mean()
        noise = LATENT_NOISE * torch.rand(len(z), 1, 1, 1) * torch.randn_like(z)
        guess = vae.decoder(vae.post_quant_conv(z + noise))
        colors = F.mse_loss(to_colors(z), F.avg_pool2d(target, 8))
        return picture_loss(guess, target) + 0.5 * colors + 0.1 * spread

    trainer.run(loss)
    if member.is_first:
        with torch.no_grad():
            whiten(vae, whole(256, 128, random.Random(seed)))
            print(f"VAE: {round_trip_db(vae):.2f} dB at 128 px", flush=True)
        vae.save_pretrained(work / "vae")


@torch.no_grad()
def round_trip_db(vae: AutoencoderKL, side: int = 128) -> float:
    """Give the peak signal-to-noise ratio of 64 pictures that went through the VAE."""
    pictures = whole(64, side, random.Random("round trip"))
    error = (vae.decode(vae.encode(pictures).latent_dist.mean).sample.clamp(-1, 1) - pictures) / 2
    return float(-10 * error.square().mean().log10())
