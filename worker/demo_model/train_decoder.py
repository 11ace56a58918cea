"""Stage 3: the decoder alone, on noisy latents of whole pictures: the encoder, and so the UNet's world, stays fixed."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from demo_model.networks import SCALING_FACTOR
from demo_model.parallel import Member
from demo_model.train_vae import crops, picture_loss, round_trip_db, whole
from demo_model.trainer import Budget, Rate, Trainer

RATE = Rate(peak=8e-4, final=5e-6, ema_decay=0.998)
#: Largest noise on latents of unit variance: about the error that the sampler leaves.
LATENT_NOISE = 0.12


def train_decoder(member: Member, work: Path, seed: int, budget: Budget) -> None:
    """Fine-tune the decoder of `work/vae` and save the whole VAE under `work/vae_final`."""
    vae = AutoencoderKL.from_pretrained(work / "vae")
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    trainer = Trainer(member, [vae], RATE, budget, work / "decoder.pt")

    def loss(step: int, _fraction: float) -> Tensor:
        rng = random.Random(f"{seed} decoder {member.rank} {step}")
        torch.manual_seed(rng.getrandbits(32))
        target = whole(4, 128, rng) if step % 4 else rng.choice([crops(12, rng), whole(10, 64, rng), whole(4, 96, rng)])
        with torch.no_grad():
            latents = vae.encode(target).latent_dist.mean
        noise = LATENT_NOISE / SCALING_FACTOR * torch.rand(len(target), 1, 1, 1) * torch.randn_like(latents)
        return picture_loss(vae.decode(latents + noise).sample, target)

    if member.is_first:
        print(f"decoder: {round_trip_db(vae):.2f} dB at 128 px before", flush=True)
    trainer.run(loss)
    if member.is_first:
        print(f"decoder: {round_trip_db(vae):.2f} dB at 128 px after", flush=True)
        vae.save_pretrained(work / "vae_final")
