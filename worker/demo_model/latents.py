"""Draw the UNet's training set once and keep it as latents: encoding again at every step would double the work.

Each process keeps its own part in one file. Captions are not kept: they are said anew each time.
"""

from __future__ import annotations

import os
import pickle
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from demo_model.compose import random_picture
from demo_model.draw import draw
from demo_model.networks import SCALING_FACTOR
from demo_model.parallel import Member
from demo_model.picture import Picture
from demo_model.train_vae import to_tensor

#: (width, height) in pixels -> pictures of that size, over all processes.
NUM_PICTURES: dict[tuple[int, int], int] = {
    (128, 128): 22_000,
    (64, 64): 20_000,
    (96, 96): 2_400,
    (160, 160): 600,
    (192, 192): 500,
    (192, 128): 800,
    (128, 192): 800,
    (128, 96): 400,
    (96, 128): 400,
}
#: Pictures encoded at a time.
PART = 25


@dataclass(frozen=True)
class Bucket:
    """Pictures of one size and their latents, float32 [N, 4, h, w] of unit variance."""

    pictures: list[Picture]
    latents: Tensor


def load_or_make(member: Member, work: Path, seed: int) -> dict[tuple[int, int], Bucket]:
    """Give this process's part of the training set, from its file when there is one."""
    path = work / f"latents-{member.rank}-of-{member.size}.pickle"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(work / "vae").eval()
        buckets = {size: _make(vae, size, count // member.size, member, seed) for size, count in NUM_PICTURES.items()}
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(pickle.dumps({size: (b.pictures, b.latents.numpy()) for size, b in buckets.items()}))
        os.replace(unfinished, path)
    stored = pickle.loads(path.read_bytes())  # our own file
    return {size: Bucket(pictures, torch.from_numpy(latents)) for size, (pictures, latents) in stored.items()}


@torch.no_grad()
def _make(vae: AutoencoderKL, size: tuple[int, int], count: int, member: Member, seed: int) -> Bucket:
    rng = random.Random(f"{seed} latents {size} {member.rank}")
    pictures = [random_picture(rng) for _ in range(count)]
    parts = []
    for first in range(0, count, PART):
        drawn: list[np.ndarray] = [draw(picture, *size, rng) for picture in pictures[first : first + PART]]
        parts.append(vae.encode(to_tensor(drawn)).latent_dist.mean * SCALING_FACTOR)
    return Bucket(pictures, torch.cat(parts))
